"""The API against its own document."""
