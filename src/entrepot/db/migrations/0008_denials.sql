-- What was refused, so that whoever is entitled can ask why: the same to the same is one row with a count.
create table denial (
    id text primary key,
    account bigint not null,
    actor text not null,
    action text not null,
    resource text not null,
    address text not null,
    reasons text not null,
    first_at bigint not null,
    last_at bigint not null,
    count bigint not null
) {clustered};
create index denial_by_time on denial (last_at);
