"""The costs of publishing and loading."""
