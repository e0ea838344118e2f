"""Faces of package clients."""
