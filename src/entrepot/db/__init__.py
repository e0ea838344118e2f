"""Adapters of the port Database; the module name is the scheme of `database.url`."""
