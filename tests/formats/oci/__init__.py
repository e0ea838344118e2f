"""The OCI face: requests and their answers."""
