-- Whether pulls from a namespace go on from memory while the database is away.
alter table namespace add column away_pulls integer not null default 1;
