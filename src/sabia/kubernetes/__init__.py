"""Versions, routes and rollouts on a Kubernetes cluster."""
