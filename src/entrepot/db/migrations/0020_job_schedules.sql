-- When the jobs of a kind come back, where somebody has said it: at the times of a cron expression in a time zone, or so
-- many seconds after they have ended. With neither, as without a row, they do as they do by themselves, unless paused.
create table job_schedule (
    kind text primary key,
    cron text,
    seconds bigint,
    timezone text not null,
    is_paused integer not null,
    changed_at bigint not null
) {clustered};
