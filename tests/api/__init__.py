"""The management API through its door."""
