"""Entrepot: a self-hosted registry for container images and packages."""

__version__ = "0.1.0"
