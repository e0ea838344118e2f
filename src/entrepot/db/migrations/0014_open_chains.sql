-- Each start of a process makes a chain, and few of them still grow: those that do are found without the others.
create index audit_chain_unsealed on audit_chain (id) where sequence > sealed;
create index audit_chain_unforwarded on audit_chain (id) where sequence > forwarded;
