-- How many images somebody may pull within so many seconds; `pulls` is null for any number. The flags say for whom it
-- is where nothing else was assigned: at most one plan has each of them.
create table plan (
    name text primary key,
    pulls bigint,
    window_seconds bigint not null,
    for_anonymous integer not null default 0,
    for_signed_in integer not null default 0
) {clustered};
alter table account add column plan text;
create index account_by_plan on account (plan) where plan is not null;

-- What was pulled since the window of an account or address began, all processes together.
create table pull_window (
    key text primary key,
    began_at bigint not null,
    ends_at bigint not null,
    pulls bigint not null
) {clustered};
create index pull_window_by_end on pull_window (ends_at);
