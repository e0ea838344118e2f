"""Adapters of the blob store, beyond what their contract says."""
