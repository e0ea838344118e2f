"""Our own conformance suite, written from the OCI Distribution Specification: see docs/conformance.md."""
