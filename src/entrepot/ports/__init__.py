"""Holes for hardware: small Protocols whose docstrings are the contract that adapters are tested against."""
