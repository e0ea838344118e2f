-- A running job that somebody has cancelled is told at its next heartbeat; since when it runs.
alter table job add column stop_asked integer not null default 0;
alter table job add column started_at bigint;
-- A kind of which many wait must not hide the others; dead letters and kinds are listed without reading what waits.
create index job_due_by_kind on job (kind, run_at, id) where state = 'pending';
create index job_by_kind on job (kind, id);
create index job_dead on job (id) where state = 'dead';
-- What was deleted is found without what is kept for other reasons, and the tags that went with it.
create index pin_trash on pin (repository, digest) where reason = 'trash';
create index tag_event_left on tag_event (repository, from_digest) where to_digest is null;
