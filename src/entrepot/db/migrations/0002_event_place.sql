-- Events are read in the order of (epoch, transaction, identity): see metadata/events.py.
create index event_by_place on event (epoch, transaction_id, id);
