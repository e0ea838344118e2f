-- Who may do what. An account is a user, an organisation or a service account; all names come from one pool. A service
-- account with a home belongs to that namespace. Who is not a user has no password: the hash is empty.
alter table account add column kind text not null default 'user';
alter table account add column home bigint references namespace (id);
alter table account add column description text not null default '';

create table organisation_member (
    organisation bigint not null references account (id),
    account bigint not null references account (id),
    role text not null,
    source text not null default 'local',
    added_at bigint not null,
    primary key (organisation, account)
) {clustered};
create index organisation_member_by_account on organisation_member (account);

create table team (
    id {identity},
    organisation bigint not null references account (id),
    name text not null,
    description text not null default '',
    created_at bigint not null,
    unique (organisation, name)
);

create table team_member (
    team bigint not null references team (id),
    account bigint not null references account (id),
    source text not null default 'local',
    added_at bigint not null,
    primary key (team, account)
) {clustered};
create index team_member_by_account on team_member (account);

-- Roles that an instance adds to reader, writer, maintainer and owner; actions are a JSON list.
create table role (
    name text primary key,
    actions text not null,
    description text not null default '',
    created_at bigint not null
) {clustered};

-- Who (an account, a team, everyone, signed-in), what (a role, or a JSON list of actions), where (a resource or a
-- pattern, perhaps of tags), under which conditions (JSON).
alter table "grant" rename to old_grant;
create table "grant" (
    id {identity},
    subject_kind text not null,
    subject bigint not null default 0,
    effect text not null default 'allow',
    role text not null default '',
    actions text not null default '',
    resource text not null,
    tags text not null default '',
    conditions text not null default '',
    granted_by text not null,
    granted_at bigint not null
);
create unique index grant_once on "grant" (subject_kind, subject, effect, role, actions, resource, tags, conditions);
create index grant_by_resource on "grant" (resource);
insert into "grant" (subject_kind, subject, role, resource, granted_by, granted_at)
    select 'account', account, role, resource, granted_by, granted_at from old_grant;
drop table old_grant;

-- Secrets that are random: personal tokens, secrets of service accounts, passwords of an evening. Only a fingerprint
-- (SHA-256) is kept. Scopes are a JSON list; an empty text stands for all that the account may do.
create table credential (
    id {identity},
    account bigint not null references account (id),
    kind text not null,
    name text not null,
    fingerprint text not null unique,
    hint text not null,
    scopes text not null default '',
    created_by text not null,
    created_at bigint not null,
    expires_at bigint,
    used_at bigint,
    revoked_at bigint
);
create index credential_by_account on credential (account, id);
create index credential_by_revocation on credential (revoked_at);
