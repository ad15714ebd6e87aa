"""Ordinary networks in whose features images are compared."""
