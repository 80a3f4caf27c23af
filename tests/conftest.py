"""Fixtures that several rooms use."""

from __future__ import annotations

from pathlib import Path

import pytest

from sabia.contract.layout import Version, version_prefix
from sabia.registry.verification import Artifact, read_version
from sabia.store.objects import Store
from sabia.training.recipe import BREAST_CANCER, read
from sabia.training.run import run

MODEL = "breast-cancer"


@pytest.fixture
def store() -> Store:
    """An empty store."""
    return Store.open("memory://")


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store on files that holds the six versions of the recipe. Tests only read it."""
    store = Store.open(tmp_path_factory.mktemp("published").as_uri(), make=True)
    for _ in run(read(BREAST_CANCER), store):
        pass
    return store


@pytest.fixture(scope="session")
def linear(published: Store) -> Artifact:
    """Version 1.2, verified."""
    return read_version(published, MODEL, Version(1, 2))


@pytest.fixture(scope="session")
def logistic(published: Store) -> Artifact:
    """Version 2.0, verified."""
    return read_version(published, MODEL, Version(2, 0))


@pytest.fixture
def folder(published: Store, tmp_path: Path) -> Path:
    """A folder with version 2.0 as a pod finds it at /mnt/models; the test may spoil it."""
    prefix = version_prefix(MODEL, Version(2, 0))
    for entry in published.list(prefix):
        target = tmp_path / entry.key.removeprefix(prefix)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(published.get(entry.key))
    return tmp_path
