"""Verbs: one story per file over a frozen bundle of ports."""
