"""HTTP/1.1 over sockets for any ASGI application: what clients connect to. Knows nothing of registries."""
