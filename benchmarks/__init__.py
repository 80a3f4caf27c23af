"""Figures, each printed by one command, the rivals beside us in the same run."""
