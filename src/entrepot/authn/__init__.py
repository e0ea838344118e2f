"""Adapters that prove who somebody is."""
