"""The OCI Distribution Specification 1.1.1 and what its main branch adds, with Docker's token service."""
