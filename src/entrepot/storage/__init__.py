"""Adapters of the port BlobStore; the module name is the scheme of `storage.url`."""
