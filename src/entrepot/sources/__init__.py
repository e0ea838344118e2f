"""Places outside the registry that may hold the same bytes; a repair reads from them, and nothing is written there."""
