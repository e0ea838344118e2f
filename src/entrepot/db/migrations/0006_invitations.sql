-- Who is asked to join an organisation, as what, and until when they may answer.
create table invitation (
    organisation bigint not null references account (id),
    account bigint not null references account (id),
    role text not null,
    invited_by text not null,
    invited_at bigint not null,
    expires_at bigint not null,
    primary key (organisation, account)
) {clustered};
create index invitation_by_account on invitation (account, organisation);
