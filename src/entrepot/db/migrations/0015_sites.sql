-- From which site a program waits: of IPv6 the /48, all of which one customer may have; of IPv4 the address.
alter table device_code add column site text not null default '';
create index device_code_by_site on device_code (site, until);
