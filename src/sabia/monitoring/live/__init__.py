"""The live page: what is served now and what the rollouts know, pushed to browsers as it changes."""
