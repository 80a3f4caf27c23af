"""Serving one version of a model by KServe's protocols."""
