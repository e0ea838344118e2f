"""Adapters that tell others what happened."""
