"""Queries: one file per noun, plain functions over `tx`, SQL that both engines run."""
