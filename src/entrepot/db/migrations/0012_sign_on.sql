-- Where people sign on: OpenID Connect providers. Secrets are sealed by a key that is made of the registry's own; lists
-- are JSON.
create table sign_on_provider (
    id {identity},
    name text not null unique,
    issuer text not null,
    client_id text not null,
    client_secret text not null default '',
    scopes text not null,
    name_claim text not null,
    email_claim text not null,
    groups_claim text not null,
    domains text not null default '[]',
    groups text not null default '[]',
    creates_accounts integer not null default 1,
    is_enabled integer not null default 1,
    created_at bigint not null
);

-- Who somebody at a provider is here. `refresh_token` is sealed, empty where the provider gives none; `ended_at` is
-- since when the provider does not vouch for them any more.
create table sign_on_link (
    provider bigint not null references sign_on_provider (id) on delete cascade,
    subject text not null,
    account bigint not null references account (id) on delete cascade,
    email text not null default '',
    refresh_token text not null default '',
    created_at bigint not null,
    signed_in_at bigint,
    checked_at bigint,
    ended_at bigint,
    primary key (provider, subject)
) {clustered};
create unique index sign_on_link_by_account on sign_on_link (account, provider);
create index sign_on_link_by_check on sign_on_link (checked_at);

-- Browsers that somebody signed in with, each known by the fingerprint (SHA-256) of its cookie.
create table web_session (
    id {identity},
    account bigint not null references account (id) on delete cascade,
    fingerprint text not null unique,
    provider bigint references sign_on_provider (id) on delete cascade,
    address text not null,
    agent text not null,
    misses integer not null default 0,
    created_at bigint not null,
    seen_at bigint not null,
    until bigint not null
);
create index web_session_by_account on web_session (account, id);
create index web_session_by_until on web_session (until);

-- Programs that wait for somebody to let them log in (RFC 8628): by the fingerprints of what the program keeps and of
-- what a person types. `account` is set by whoever approved; a denied one has `is_denied`.
create table device_code (
    fingerprint text primary key,
    user_code text not null unique,
    name text not null,
    agent text not null,
    address text not null,
    network text not null,
    scopes text not null,
    account bigint references account (id) on delete cascade,
    account_until bigint not null default 0,
    decided_at bigint,
    is_denied integer not null default 0,
    pause bigint not null,
    polled_at bigint not null default 0,
    created_at bigint not null,
    until bigint not null
) {clustered};
create index device_code_by_network on device_code (network, until);
create index device_code_by_until on device_code (until);
