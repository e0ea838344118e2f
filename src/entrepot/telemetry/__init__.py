"""Logs and metrics: wraps applications and ports, never called from handlers."""
