"""A store that the first release wrote: it is read, served and continued."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from sabia.contract.layout import Version
from sabia.contract.signature import Bins
from sabia.registry.catalogue import manifests_of
from sabia.registry.claim import Change
from sabia.registry.verification import read_version
from sabia.serving.inference.model import Model
from sabia.store.objects import Store
from sabia.training.recipe import Recipe, Step
from sabia.training.run import run

STORE = Path(__file__).parents[2] / "data" / "schema1"
NAME = "breast-cancer"


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """A copy of the store, with version 1.0 of logistic regression."""
    shutil.copytree(STORE, tmp_path / "store")
    return Store.open((tmp_path / "store").as_uri())


def recipe(*, rows: float, methods: str = "logistic-regression") -> Recipe:
    """The recipe of the stored version, with other rows or methods."""
    hyper_params = {"C": 1.0} if methods == "logistic-regression" else {}
    step = Step(note="", methods=methods, hyper_params=hyper_params, rows=rows)
    return Recipe(model=NAME, dataset="sklearn:breast_cancer", held_out=0.25, seed=20, versions=[step])


def test_its_signature_is_the_present_one(old: Store) -> None:
    manifest = read_version(old, NAME, Version(1, 0)).manifest
    assert manifest.signature.is_scalar
    assert manifest.signature.primary_output.role == "probability"
    assert manifest.bins == Bins(kind="equal", count=20, range=(0.0, 1.0))
    assert manifest.metrics.task == "binary"
    assert manifest.metrics.values["accuracy"] > 0.9


def test_it_is_served(old: Store) -> None:
    model = Model(read_version(old, NAME, Version(1, 0)))
    middle = (model.minimum + model.maximum) / 2
    assert 0 <= model.predict(np.array([middle]))[0] <= 1


@pytest.mark.parametrize(
    ("following", "version", "change"),
    [
        (recipe(rows=0.4), "1.0", Change.NOTHING),
        (recipe(rows=0.5), "1.1", Change.STATE),
        (recipe(rows=0.4, methods="linear-regression"), "2.0", Change.METHODS),
    ],
    ids=["same content", "other rows", "other methods"],
)
def test_the_version_rule_continues_it(old: Store, following: Recipe, version: str, change: Change) -> None:
    ((_, published),) = run(following, old)
    assert (published.manifest.version, published.change) == (version, change)
    assert all(manifest.name == NAME for manifest in manifests_of(old, NAME))
