"""Nouns: what is true of a registry whatever it runs on. Standard library and msgspec only; no I/O."""
