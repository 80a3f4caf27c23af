"""Serves one version over HTTP and gRPC."""
