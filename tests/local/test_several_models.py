"""Several models in one stack: one store, one gateway, and nothing of one model that another one notices."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from sabia.kubernetes.manifests import ROOT
from sabia.local.process import Process, free_ports
from sabia.training.recipe import BREAST_CANCER
from tests.local.test_commands import ROW, SABIA, facts, sabia
from tests.waiting import eventually

MODEL, OTHER = "breast-cancer", "churn"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack with two versions of each of two models, published to its store before it served anything."""
    folder = tmp_path_factory.mktemp("several")
    recipe = folder / "churn.yaml"
    recipe.write_text(BREAST_CANCER.read_text().replace(f"model: {MODEL}", f"model: {OTHER}"))
    assert sabia(folder, "up", "--store-only").returncode == 0
    assert [sabia(folder, "train", *named).returncode for named in ([], [str(recipe)])] == [0, 0]
    assert sabia(folder, "down").returncode == 0
    done = sabia(folder, "up", *(f"{model}/{version}" for model in (MODEL, OTHER) for version in ("1.2", "2.0")))
    assert done.returncode == 0, done.stderr
    yield folder
    sabia(folder, "down")


def weights(folder: Path, model: str) -> dict[str, int]:
    """The weights of a model."""
    found: dict[str, int] = facts(folder, "traffic", "--model", model)["weights"]
    return found


def test_each_model_is_served_and_the_first_version_has_every_request(up: Path) -> None:
    found = facts(up, "status")["models"]
    assert {each["model"]: {row["version"]: row["weight"] for row in each["versions"]} for each in found} == {
        MODEL: {"1.2": 100, "2.0": 0},
        OTHER: {"1.2": 100, "2.0": 0},
    }
    assert {row["ready"] for each in found for row in each["versions"]} == {True}
    for model in (MODEL, OTHER):
        assert facts(up, "predict", ROW, "--model", model, "--version", "2.0")["version"] == "2.0"


@pytest.mark.parametrize("arguments", [["traffic"], ["predict", ROW], ["rollout", "status"], ["rollout", "abort"]])
def test_a_command_on_one_model_asks_which(up: Path, arguments: list[str]) -> None:
    done = sabia(up, *arguments)
    assert (done.returncode, f"{MODEL}, {OTHER}; name one with --model" in done.stderr) == (2, True)


def test_weights_of_two_models_that_change_at_once_are_both_in_force(up: Path) -> None:
    shares = [10, 20, 30, 40, 50, 60]

    def change(model: str) -> list[dict[str, int]]:
        return [
            facts(up, "traffic", "--model", model, f"1.2={share}", f"2.0={100 - share}")["weights"] for share in shares
        ]

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(change, (MODEL, OTHER)))
    assert both == [[{"1.2": share, "2.0": 100 - share} for share in shares]] * 2
    assert (weights(up, MODEL), weights(up, OTHER)) == ({"1.2": 60, "2.0": 40},) * 2


def test_a_rollout_of_one_model_leaves_the_other(up: Path) -> None:
    for model in (MODEL, OTHER):
        sabia(up, "traffic", "--model", model, "1.2=100", "2.0=0")
    plan = up / "plan.yaml"
    plan.write_text(f'model: {OTHER}\nstable: "1.2"\ncanary: "2.0"\nsteps: [20, 50]\n')
    assert sabia(up, "rollout", "start", str(plan)).returncode == 0
    eventually(lambda: weights(up, OTHER)["2.0"] > 0)
    assert weights(up, MODEL) == {"1.2": 100, "2.0": 0}
    assert sabia(up, "rollout", "abort", "--model", OTHER).returncode == 0
    eventually(lambda: facts(up, "rollout", "status", "--model", OTHER)["phase"] == "RolledBack")
    assert weights(up, OTHER) == {"1.2": 100, "2.0": 0}


def test_each_model_has_a_live_page(up: Path) -> None:
    (port,) = free_ports(1)
    page = f"http://127.0.0.1:{port}"
    process = Process("dash", [*SABIA, "dash", "--folder", str(up), "--port", str(port)], logs=up / "logs")
    try:
        process.wait_until(lambda: _is_served(page), seconds=60)
        listed = requests.get(page, timeout=30).text
        for model in (MODEL, OTHER):
            assert f'href="models/{model}/"' in listed
            state = requests.get(f"{page}/models/{model}/api/state", timeout=30).json()
            assert {row["version"] for row in state["versions"] if row["serving"]} == {"1.2", "2.0"}
            assert (state["model"], state["problems"]) == (model, [])
    finally:
        process.stop(seconds=10)


def _is_served(page: str) -> bool:
    try:
        return requests.get(page, timeout=2).ok
    except requests.RequestException:
        return False


def test_own_manifests_of_versions_that_were_not_published_are_refused_and_nothing_is_trained(tmp_path: Path) -> None:
    root, folder = tmp_path / "manifests", tmp_path / "stack"
    for part in ("base", "components", "traffic", "versions"):
        shutil.copytree(ROOT / part, root / part)
    for file in [root / "traffic" / "httproute.yaml", *root.glob("versions/*/version.yaml")]:
        file.write_text(file.read_text().replace(MODEL, OTHER))
    done = sabia(folder, "up", "--manifests", str(root))
    assert done.returncode == 1
    assert "The store has no version 1.2 or 2.0 of 'churn'" in done.stderr
    assert sabia(folder, "up", "--store-only").returncode == 0
    try:
        assert facts(folder, "versions") == []
    finally:
        sabia(folder, "down")
