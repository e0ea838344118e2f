"""The HTTP client of the command line, on the standard library alone."""
