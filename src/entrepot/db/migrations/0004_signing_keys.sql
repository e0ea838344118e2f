-- What tokens are signed by. `signs_from` decides in every process alike: the newest key whose time has come signs.
-- `secret` (hex) is what our own check of a token is keyed by; `public_key` is a JWK, `certificate` the same key as PEM.
-- Whoever is revoked has no private key any more.
create table signing_key (
    kid text primary key,
    private_key text not null,
    secret text not null,
    public_key text not null,
    certificate text not null,
    created_at bigint not null,
    signs_from bigint not null,
    revoked_at bigint
) {clustered};
