"""Versions in a store: claimed, listed, verified, and named by aliases."""
