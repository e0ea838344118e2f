"""Nouns: tables of cases and properties."""
