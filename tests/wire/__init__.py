"""The grammar of HTTP that all faces share."""
