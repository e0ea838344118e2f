"""Adapters that tell people: the port Mail over SMTP."""
