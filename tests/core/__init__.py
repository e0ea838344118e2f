"""Verbs over a store in memory and SQLite, with every port call failing in turn."""
