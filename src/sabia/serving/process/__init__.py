"""A server's process: start, workers, graceful shutdown."""
