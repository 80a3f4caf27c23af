"""The training rows, and a store for the log."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sabia.contract.layout import Version, manifest_key, version_prefix
from sabia.contract.manifest import encode
from sabia.registry.verification import Artifact
from sabia.store.objects import Store
from sabia.training.datasets import load, split
from sabia.training.recipe import BREAST_CANCER, read


@pytest.fixture(scope="session")
def trained() -> NDArray[np.float64]:
    """The training rows, shape (rows, 30)."""
    recipe = read(BREAST_CANCER)
    return split(load(recipe.dataset), held_out=recipe.held_out, seed=recipe.seed).training.features


@pytest.fixture
def store(store: Store, logistic: Artifact, linear: Artifact) -> Store:
    """A store with versions 1.2 and 2.0 and no log."""
    for artifact in (linear, logistic):
        manifest = artifact.manifest
        version = Version.parse(manifest.version)
        for entry in manifest.files:
            store.create(version_prefix(manifest.name, version) + entry.path, artifact.files[entry.name])
        store.create(manifest_key(manifest.name, version), encode(manifest))
    return store
