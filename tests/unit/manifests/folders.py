"""The folders of the manifests that `kubectl apply -k` takes."""

from __future__ import annotations

import yaml

from sabia.kubernetes.manifests import ROOT

KUSTOMIZATIONS = sorted(
    path.parent.relative_to(ROOT)
    for path in ROOT.rglob("kustomization.yaml")
    if yaml.safe_load(path.read_text())["kind"] == "Kustomization"
)
