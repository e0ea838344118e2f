-- Wrong passwords, by what was tried and from where. `key` and `name` are keyed hashes: what people type as a name may
-- be their password. A row is about a name from one network, a name from anywhere, or a network (`name` is empty).
create table attempt (
    key text primary key,
    name text not null,
    network text not null,
    failures bigint not null,
    last_at bigint not null,
    locked_until bigint not null
) {clustered};
create index attempt_by_name on attempt (name, locked_until);
create index attempt_by_time on attempt (last_at);

-- From where somebody has logged in lately: guesses from elsewhere do not lock them out there.
create table familiar (
    key text primary key,
    name text not null,
    seen_at bigint not null
) {clustered};
create index familiar_by_time on familiar (seen_at);

-- How far ahead each rate limit stands, where it is near its end (microseconds).
create table rate (
    key text primary key,
    ahead_until bigint not null
) {clustered};
create index rate_by_time on rate (ahead_until);
