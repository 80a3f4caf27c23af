from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from sabia.contract.layout import Version
from sabia.contract.signature import difference
from sabia.publishing.errors import FloorRefused
from sabia.registry.catalogue import manifests_of, versions
from sabia.registry.claim import Change
from sabia.store.objects import Store
from sabia.training.errors import InvalidRecipe
from sabia.training.recipe import BREAST_CANCER, Recipe, read
from sabia.training.run import run
from tests.conftest import MODEL

SIX = [Version(major, minor) for major in (1, 2) for minor in (0, 1, 2)]


@pytest.fixture
def recipe() -> Recipe:
    """The recipe of the six versions."""
    return read(BREAST_CANCER)


def test_the_recipe_gives_the_six_versions_of_the_talk(published: Store) -> None:
    manifests = manifests_of(published, MODEL)
    assert [manifest.number for manifest in manifests] == SIX
    estimators = [manifest.methods.estimator[-1] for manifest in manifests]
    assert estimators == ["sklearn.Ridge"] * 3 + ["sklearn.LogisticRegression"] * 3


def test_each_minor_changes_the_data_or_the_hyper_params(published: Store) -> None:
    """x.1 has other data and the same hyper-parameters, x.2 the same data and other hyper-parameters."""
    found = {manifest.version: manifest for manifest in manifests_of(published, MODEL)}
    for major in "12":
        first, second, third = (found[f"{major}.{minor}"] for minor in "012")
        assert first.provenance.dataset != second.provenance.dataset
        assert first.hyper_params == second.hyper_params
        assert second.provenance.dataset == third.provenance.dataset
        assert second.hyper_params != third.hyper_params


def test_any_two_versions_can_share_traffic(published: Store) -> None:
    manifests = manifests_of(published, MODEL)
    assert len({tuple(feature.name for feature in manifest.inputs) for manifest in manifests}) == 1
    assert len({manifest.target for manifest in manifests}) == 1
    assert all(difference(manifests[0].signature, manifest.signature) is None for manifest in manifests)


def test_running_the_recipe_again_writes_nothing(published: Store, recipe: Recipe) -> None:
    before = sorted(entry.key for entry in published.list("models/"))
    assert {done.change for _, done in run(recipe, published)} == {Change.NOTHING}
    assert sorted(entry.key for entry in published.list("models/")) == before


@pytest.mark.slow
def test_a_recipe_that_was_killed_goes_on_where_it_stopped(store: Store, recipe: Recipe) -> None:
    started = run(recipe, store)
    next(started), next(started)
    started.close()
    assert [done.change for _, done in run(recipe, store)][:2] == [Change.NOTHING] * 2
    assert versions(store, MODEL) == SIX


@pytest.mark.slow
def test_two_runs_at_once_give_six_versions_not_twelve(store: Store, recipe: Recipe) -> None:
    barrier = threading.Barrier(2)

    def train(_: int) -> list[str]:
        barrier.wait()
        return [done.manifest.version for _, done in run(recipe, store)]

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(train, range(2)))
    assert both[0] == both[1] == [str(version) for version in SIX]
    assert versions(store, MODEL) == SIX


def test_a_version_under_the_floor_gets_no_number(store: Store, recipe: Recipe, tmp_path: Path) -> None:
    document = yaml.safe_load(BREAST_CANCER.read_text()) | {"floor": {"accuracy": 0.97}}
    strict = tmp_path / "strict.yaml"
    strict.write_text(yaml.safe_dump(document))
    with pytest.raises(FloorRefused, match="accuracy"):
        list(run(read(strict), store))
    assert versions(store, recipe.model) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "Bad Name"}, "model name"),
        ({"held_out": 1.5}, "held_out"),
        ({"versions": []}, "versions"),
        ({"surprise": 1}, "surprise"),
        ({"versions": [{"note": "n", "methods": "astrology", "hyper_params": {}}]}, r"versions\[0\]\.methods"),
        ({"versions": [{"note": "n", "methods": "random-forest", "hyper_params": {}, "rows": 0}]}, "rows"),
    ],
)
def test_a_wrong_recipe_is_refused_and_the_field_is_named(
    change: dict[str, object], named: str, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(BREAST_CANCER.read_text()) | change))
    with pytest.raises(InvalidRecipe, match=named):
        read(path)


@pytest.mark.parametrize("text", ["{", "- 1", ""])
def test_another_document_than_a_recipe_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(InvalidRecipe):
        read(path)


@pytest.mark.slow
def test_the_training_job_is_one_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "--store", tmp_path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [f"{MODEL} {version}" for version in SIX]


@pytest.mark.slow
def test_the_training_job_reports_a_failure_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("{}")
    command = [sys.executable, "-m", "training", "--store", tmp_path.as_uri(), str(tmp_path / "bad.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: The recipe is not valid")
