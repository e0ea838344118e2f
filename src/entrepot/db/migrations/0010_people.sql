-- One-time codes of an authenticator (RFC 6238): the secret is encrypted; `last_step` is the newest 30 seconds whose code
-- was used, so that none is used twice; wrong codes in a row make the next one wait.
create table totp (
    account bigint primary key references account (id),
    secret text not null,
    created_at bigint not null,
    confirmed_at bigint,
    last_step bigint not null default 0,
    failures bigint not null default 0,
    failed_at bigint not null default 0
) {clustered};

create table recovery_code (
    account bigint not null references account (id),
    hash text not null,
    primary key (account, hash)
) {clustered};

-- Addresses that were proved, or vouched for by an administrator; `folded` is the one spelling of an address.
create table email (
    account bigint primary key references account (id),
    address text not null,
    folded text not null unique,
    verified_at bigint not null
) {clustered};

-- Codes that prove an address, or let somebody in once. The selector finds one; the rest is stored as a hash, empty
-- until the mail with it is written. `subject` is what a newer one replaces.
create table mail_code (
    selector text primary key,
    purpose text not null,
    subject text not null,
    account bigint references account (id),
    address text not null,
    hash text not null,
    organisation bigint references account (id),
    role text not null default '',
    created_by text not null,
    created_at bigint not null,
    expires_at bigint not null,
    attempts bigint not null default 0
) {clustered};
create index mail_code_by_subject on mail_code (purpose, subject);
create index mail_code_by_account on mail_code (account);
create index mail_code_by_organisation on mail_code (organisation);
create index mail_code_by_time on mail_code (expires_at);

-- How many mails were asked for in the hour that began then, by recipient, by network, and in all; keyed hashes.
create table mail_count (
    bucket text primary key,
    started_at bigint not null,
    count bigint not null
) {clustered};
create index mail_count_by_time on mail_count (started_at);
