"""The platform on one machine: real servers as child processes, made from the manifests of the cluster."""
