"""Clients of real versions, and rows to ask them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sabia.contract.layout import Version
from sabia.publishing.draft import utc_now
from sabia.registry.claim import publish
from sabia.registry.verification import Artifact, read_version
from sabia.store.objects import Store
from sabia.training.datasets import load, split
from sabia.training.recipe import BREAST_CANCER, Step, read
from sabia.training.run import draft
from tests.unit.serving.clients import Client


@pytest.fixture
def client(logistic: Artifact) -> Client:
    """A client of version 2.0."""
    return Client(logistic)


@pytest.fixture(scope="session")
def rows() -> NDArray[np.float64]:
    """Real rows, shape (569, 30)."""
    return load("sklearn:breast_cancer").features


@pytest.fixture(scope="session")
def forest() -> Artifact:
    """A version of a small forest: methods without a fast path, in float32."""
    recipe = read(BREAST_CANCER)
    parts = split(load(recipe.dataset), held_out=recipe.held_out, seed=recipe.seed)
    step = Step(note="forest", methods="random-forest", hyper_params={"n_estimators": 5, "random_state": 0})
    store = Store.open("memory://")
    publish(store, draft("breast-cancer", step, parts, floor=recipe.floor, created_at=utc_now()))
    return read_version(store, "breast-cancer", Version(1, 0))
