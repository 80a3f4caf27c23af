"""Moving a model from one version to the next: versions put on a cluster and taken off it, and traffic between them."""
