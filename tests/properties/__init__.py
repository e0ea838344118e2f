"""Random walks against a model, and fuzz."""
