-- Who did what. A record of a change is written with the change and linked into a chain within a second: until then
-- its chain is empty. What is archived leaves this table.
create table audit (
    id {identity},
    day integer not null,
    at bigint not null,
    category text not null,
    action text not null,
    actor text not null,
    account bigint not null,
    subject text not null,
    namespace text not null,
    address text not null,
    method text not null,
    is_allowed integer not null,
    reasons text not null,
    count bigint not null,
    first_at bigint not null,
    last_at bigint not null,
    detail text not null,
    chain text not null default '',
    sequence bigint not null default 0,
    previous text not null default '',
    hash text not null default ''
);
create index audit_by_day on audit (day, id);
create index audit_by_actor on audit (actor, day, id);
create index audit_by_namespace on audit (namespace, day, id);
create unique index audit_by_chain on audit (chain, sequence) where chain <> '';
create index audit_unchained on audit (id) where chain = '';

-- The end of each chain, how much of it is in a signed root, and how much has been forwarded.
create table audit_chain (
    id text primary key,
    started_at bigint not null,
    sequence bigint not null,
    hash text not null,
    sealed bigint not null default 0,
    forwarded bigint not null default 0
) {clustered};

create table audit_root (
    number bigint primary key,
    at bigint not null,
    document text not null,
    hash text not null,
    key text not null,
    signature text not null,
    forwarded integer not null default 0
) {clustered};
create index audit_root_unforwarded on audit_root (number) where forwarded = 0;

-- Days that lie in the store. `summary` says which stretches of which chains are in it, and stays when the bytes go.
create table audit_segment (
    id {identity},
    day integer not null,
    pieces text not null,
    digest text not null,
    records bigint not null,
    first_id bigint not null,
    last_id bigint not null,
    actors text not null,
    namespaces text not null,
    summary text not null,
    sealed bigint not null default 0,
    removed_at bigint
);
create index audit_segment_by_day on audit_segment (day, last_id);
create index audit_segment_unsealed on audit_segment (id) where sealed = 0;
