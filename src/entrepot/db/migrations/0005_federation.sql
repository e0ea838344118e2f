-- Whom the registry believes besides itself. An OIDC issuer is known by the URL that its tokens carry, AWS by the
-- endpoint of STS, in which `{region}` may stand. Audiences and regions are JSON lists; keys are pinned as a JWKS where
-- the issuer cannot be reached, else empty.
create table issuer (
    id {identity},
    name text not null unique,
    kind text not null,
    url text not null,
    audiences text not null,
    regions text not null default '[]',
    jwks text not null default '',
    is_reusable integer not null default 0,
    is_enabled integer not null default 1,
    created_at bigint not null,
    unique (kind, url)
);

-- What a token must claim (a JSON object of lists), as which account its holder then acts, and within which scopes
-- (a JSON list).
create table federation_rule (
    id {identity},
    issuer bigint not null references issuer (id),
    name text not null,
    conditions text not null,
    account bigint not null references account (id),
    scopes text not null,
    is_enabled integer not null default 1,
    created_at bigint not null,
    unique (issuer, name)
);
create index federation_rule_by_account on federation_rule (account);

-- Tokens that have been exchanged, by a fingerprint, until they would not be taken any more anyhow.
create table federation_use (
    fingerprint text primary key,
    until bigint not null
) {clustered};
create index federation_use_by_until on federation_use (until);
