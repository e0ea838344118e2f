-- On which listeners a namespace answers (a list in JSON; an empty one is all), and whose a client certificate is.
alter table namespace add column listeners text not null default '[]';
alter table account add column certificate text not null default '';
create unique index account_certificate on account (certificate) where certificate <> '';
