"""The face of tools: `/api/v1`, one file per resource.

Nothing in this package is imported before the first request but `face`: Litestar costs most of a second.
"""
