-- Accounts that a directory (LDAP) knows. `external` is what it never gives to another entry, empty where it has no
-- such thing; `gone_at` is since when it has not had the account, or has it disabled.
alter table account add column source text not null default 'local';
alter table account add column external text not null default '';
alter table account add column gone_at bigint;
create index account_by_source on account (source, name);

-- Whoever is in a group of the directory is in the team. `key` is the one spelling of the group's name.
create table team_group (
    team bigint not null references team (id) on delete cascade,
    key text not null,
    name text not null,
    added_by text not null,
    added_at bigint not null,
    primary key (team, key)
) {clustered};
