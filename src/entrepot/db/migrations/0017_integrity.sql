-- When the bytes of a blob were last read and found to be what their digest says; 0 for never since they were pushed
-- by a version that did not tell.
alter table blob add column verified_at bigint not null default 0;
create index blob_by_verification on blob (verified_at, digest);
create index blob_damaged on blob (digest) where state <> 'good';

-- One row: which process re-reads blobs in the background until when, since when a round is asked for, and what was read.
create table scrub (
    id integer primary key,
    holder text not null default '',
    lease_until bigint not null default 0,
    asked_at bigint not null default 0,
    read_blobs bigint not null default 0,
    read_bytes bigint not null default 0,
    damaged_blobs bigint not null default 0,
    unreadable_blobs bigint not null default 0
);
insert into scrub (id) values (1);
