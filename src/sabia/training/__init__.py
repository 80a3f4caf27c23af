"""Trains and publishes the versions of a recipe."""
