"""Numbered SQL that both engines run, in order, each file in a transaction of its own."""
