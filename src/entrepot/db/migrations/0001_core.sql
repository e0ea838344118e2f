-- The rows of the registry. {words} are filled in per engine by db/migrate.py; {clustered} keeps rows in the primary key.

create table instance (
    name text primary key,
    value text not null
) {clustered};

-- One row; bumped in every transaction that changes what decisions depend on.
create table policy (
    id integer primary key,
    version bigint not null
);
insert into policy (id, version) values (1, 0);

create table account (
    id {identity},
    name text not null unique,
    password_hash text not null,
    is_admin integer not null default 0,
    is_disabled integer not null default 0,
    credentials_since bigint not null,
    created_at bigint not null
);

create table namespace (
    id {identity},
    name text not null unique,
    kind text not null default 'hosted',
    owner bigint references account (id),
    visibility text not null default 'private',
    placement text not null default 'default',
    untagged_days integer not null default 14,
    created_at bigint not null
);

create table "grant" (
    account bigint not null references account (id),
    resource text not null,
    role text not null,
    granted_by text not null,
    granted_at bigint not null,
    primary key (account, resource)
) {clustered};

create table repository (
    id {identity},
    namespace bigint not null references namespace (id),
    name text not null unique,
    format text not null default 'oci',
    visibility text,
    created_at bigint not null
);
create index repository_of_namespace on repository (namespace, name);

create table blob (
    digest text primary key,
    size bigint not null,
    state text not null default 'good',
    created_at bigint not null
) {clustered};

create table location (
    blob text not null,
    ordinal integer not null,
    store text not null,
    key text not null,
    size bigint not null,
    cipher text not null default '',
    primary key (blob, ordinal)
) {clustered};

create table wrap (
    blob text not null,
    namespace bigint not null,
    wrapped_key {bytes} not null,
    primary key (blob, namespace)
) {clustered};

create table manifest (
    digest text primary key,
    media_type text not null,
    artifact_type text not null default '',
    raw {bytes} not null,
    created_at bigint not null
);

-- The one graph. The child may be unknown. A subject edge carries what a referrers listing shows and filters by,
-- so that a page of it is one range of one index.
create table edge (
    parent text not null,
    child text not null,
    kind text not null,
    artifact_type text not null default '',
    descriptor text,
    primary key (parent, child, kind)
) {clustered};
create index edge_by_child on edge (child, kind, parent);
create index edge_by_artifact_type on edge (child, artifact_type, parent) where kind = 'subject';

create table member (
    repository bigint not null references repository (id),
    digest text not null,
    kind text not null,
    pushed_at bigint not null,
    deleted_at bigint,
    primary key (repository, digest, kind)
) {clustered};
create index member_by_digest on member (digest, kind);

create table tag (
    repository bigint not null references repository (id),
    name text not null,
    kind text not null default 'tag',
    digest text not null,
    generation bigint not null,
    moved_at bigint not null,
    primary key (repository, name)
) {clustered};
create index tag_by_digest on tag (repository, digest);

create table tag_event (
    id {identity},
    repository bigint not null,
    name text not null,
    from_digest text,
    to_digest text,
    actor text not null,
    via text not null,
    at bigint not null
);
create index tag_event_by_tag on tag_event (repository, name, id);

-- Roots beside the tags: whatever else keeps content. `holder` tells pins of one reason apart (a tag, an upload).
create table pin (
    repository bigint not null,
    digest text not null,
    reason text not null,
    holder text not null default '',
    until bigint not null,
    primary key (repository, digest, reason, holder)
) {clustered};
create index pin_by_end on pin (until);

create table fact (
    repository bigint not null,
    version text not null default '',
    key text not null,
    value text not null,
    primary key (repository, version, key)
) {clustered};

create table upload (
    id text primary key,
    repository text not null,
    account bigint not null,
    algorithm text not null,
    started_at bigint not null,
    touched_at bigint not null
);
create index upload_by_touch on upload (touched_at);
create index upload_by_account on upload (account);

create table segment (
    upload text not null references upload (id),
    ordinal integer not null,
    start bigint not null,
    key text not null,
    size bigint not null,
    digest text not null,
    primary key (upload, ordinal)
) {clustered};

create table job (
    id {identity},
    kind text not null,
    key text not null,
    payload text not null,
    state text not null default 'pending',
    run_at bigint not null,
    attempts integer not null default 0,
    lease_until bigint,
    worker text,
    progress text not null default '',
    error text not null default '',
    created_at bigint not null,
    ended_at bigint
);
create index job_by_time on job (run_at, id) where state = 'pending';
create index job_by_lease on job (lease_until) where state = 'running';
create unique index job_coalesced on job (kind, key) where state = 'pending';

-- What happened, in the order of the database's own identity. Readers on PostgreSQL leave out rows whose
-- transaction is not older than the oldest one running, since identities are handed out before commits.
create table event (
    id {identity},
    site text not null default '',
    epoch bigint not null default 1,
    transaction_id {transaction_id},
    at bigint not null,
    kind text not null,
    actor text not null,
    subject text not null,
    detail text not null
);
