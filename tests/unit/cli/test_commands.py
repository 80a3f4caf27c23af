"""Commands on a store: what they print, and their exit codes."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sabia as sabia_package
from sabia.cli.errors import CliError
from sabia.errors import SabiaError
from sabia.store.objects import Store
from sabia.training.recipe import BREAST_CANCER, read
from sabia.training.run import run
from tests.conftest import MODEL

pytestmark = pytest.mark.slow  # starts processes

Sabia = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def own_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a store with the six versions, that these tests may write to."""
    url = tmp_path_factory.mktemp("store").as_uri()
    for _ in run(read(BREAST_CANCER), Store.open(url)):
        pass
    return url


@pytest.fixture
def sabia(own_store: str, tmp_path: Path) -> Sabia:
    """Runs a command in an empty folder."""

    def call(*arguments: str, store: str | None = own_store) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "sabia", *arguments, *(["--store", store] if store else [])]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path)

    return call


def facts(done: subprocess.CompletedProcess[str]) -> Any:
    """What a command printed as JSON."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_training_again_reports_that_nothing_changed(sabia: Sabia) -> None:
    assert {row["change"] for row in facts(sabia("train", "--json"))} == {"nothing changed"}
    assert sabia("train").stdout.count("nothing changed") == 6


def test_versions_are_listed_in_the_order_of_their_numbers(sabia: Sabia) -> None:
    rows = facts(sabia("versions", MODEL, "--json"))
    assert [row["version"] for row in rows] == ["1.0", "1.1", "1.2", "2.0", "2.1", "2.2"]
    assert facts(sabia("versions", "--json")) == rows


def test_a_version_is_shown_as_its_card_or_as_its_manifest(sabia: Sabia) -> None:
    assert "## Evaluation on 143 held-out rows" in sabia("show", MODEL, "2.0").stdout
    assert facts(sabia("show", MODEL, "2.0", "--json"))["version"] == "2.0"


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("1.0", "1.1", {"data", "parameters", "metrics"}),
        ("1.1", "1.2", {"hyper-parameters", "parameters", "metrics"}),
        ("1.2", "2.0", {"methods", "data", "hyper-parameters", "parameters", "metrics"}),
        ("2.0", "2.0", set()),
    ],
)
def test_diff_lists_what_changed(sabia: Sabia, before: str, after: str, changed: set[str]) -> None:
    found = facts(sabia("diff", MODEL, before, after, "--json"))
    assert set(found["changes"]) == changed
    assert (found["before"], found["after"]) == (before, after)


def test_a_table_of_differences_says_how_many_more_there_are(sabia: Sabia) -> None:
    printed = sabia("diff", MODEL, "1.1", "1.2").stdout
    assert "alpha" in printed
    assert "more parameters differ; all of them: --json" in printed


def test_versions_are_filtered_and_listed_in_pages(sabia: Sabia) -> None:
    rows = facts(sabia("versions", "breast-*", "--newest", "--json"))
    assert [row["version"] for row in rows] == ["2.2"]
    rows = facts(sabia("versions", "--limit", "2", "--after", f"{MODEL}/1.1", "--json"))
    assert [row["version"] for row in rows] == ["1.2", "2.0"]
    assert f"4 more; the next ones: --after {MODEL}/1.1" in sabia("versions", "--limit", "2").stdout
    assert sabia("versions", "--after", "1.1").returncode == 2


def test_an_unreadable_version_is_a_row_and_ends_no_command_but_its_own(sabia: Sabia, tmp_path: Path) -> None:
    url = (tmp_path / "store").as_uri()
    assert sabia("train", store=url).returncode == 0
    (tmp_path / "store" / "models" / MODEL / "1.1" / "manifest.json").write_text('{"schema_version": 2}')
    rows = facts(sabia("versions", "--json", store=url))
    assert [row["version"] for row in rows if row["problem"] is None] == ["1.0", "1.2", "2.0", "2.1", "2.2"]
    assert "manifest.json is not valid" in re.sub(r"[\s│┃]+", " ", sabia("versions", store=url).stdout)
    assert sabia("show", MODEL, "1.0", store=url).returncode == 0
    shown = sabia("show", MODEL, "1.1", store=url)
    assert (shown.returncode, shown.stderr.startswith("error: manifest.json is not valid")) == (4, True)
    checked = sabia("doctor", MODEL, "--json", store=url)
    assert checked.returncode == 4
    assert json.loads(checked.stdout)["verified"] == ["1.0", "1.2", "2.0", "2.1", "2.2"]
    assert list(json.loads(checked.stdout)["damaged"]) == ["1.1"]


def test_an_alias_is_set_shown_used_and_retired(sabia: Sabia) -> None:
    facts(sabia("alias", MODEL, "champion", "1.2", "--json"))
    assert facts(sabia("alias", MODEL, "--json")) == {"champion": "1.2"}
    assert facts(sabia("show", MODEL, "champion", "--json"))["version"] == "1.2"
    history = facts(sabia("alias", MODEL, "champion", "--retire", "--json"))["history"]
    assert [move["version"] for move in history] == ["1.2", None]
    assert sabia("show", MODEL, "champion").returncode == 3


def test_doctor_verifies_every_version_and_lists_unclaimed_keys(sabia: Sabia, own_store: str) -> None:
    Store.open(own_store).create(f"models/{MODEL}/9.0/abc/model.onnx", b"half a publisher")
    found = facts(sabia("doctor", MODEL, "--json"))
    assert len(found["verified"]) == 6
    assert found["unclaimed"] == [f"models/{MODEL}/9.0/abc/model.onnx"]


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["versions", "nothing"], 3, "has no version"),
        (["show", MODEL, "9.9"], 3, "has no version '9.9'"),
        (["show", MODEL, "champion-of-nothing"], 3, "has no alias"),
        (["show", MODEL, "1.x"], 2, "MAJOR.MINOR"),
        (["show", "Bad Name", "1.0"], 2, "model name"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_an_error_has_its_exit_code_and_its_reason(sabia: Sabia, arguments: list[str], code: int, reason: str) -> None:
    done = sabia(*arguments)
    assert done.returncode == code
    assert reason in re.sub(r"\s+", " ", done.stderr)
    assert "Traceback" not in done.stderr


def test_a_damaged_version_is_exit_code_4(tmp_path: Path, sabia: Sabia) -> None:
    url = (tmp_path / "store").as_uri()
    assert sabia("train", store=url).returncode == 0
    damaged = next((tmp_path / "store").glob("models/*/1.0/*/state.json"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    for command in (("show", MODEL, "1.0"), ("doctor", MODEL)):
        done = sabia(*command, store=url)
        assert (done.returncode, "state.json" in done.stderr) == (4, True)


@pytest.mark.parametrize(
    "arguments", [["versions"], ["status"], ["down"], ["predict", "[[1]]"], ["traffic"], ["traffic", "1.2=100"]]
)
def test_without_a_stack_or_a_store_it_is_exit_code_5(sabia: Sabia, arguments: list[str]) -> None:
    done = sabia(*arguments, store=None)
    assert done.returncode == 5
    assert "sabia up" in done.stderr


def test_a_store_that_does_not_answer_is_exit_code_5(sabia: Sabia, tmp_path: Path) -> None:
    assert sabia("versions", store=(tmp_path / "nowhere").as_uri()).returncode == 5


NO_API = """
apiVersion: v1
kind: Config
current-context: absent
contexts: [{name: absent, context: {cluster: absent, user: absent}}]
clusters: [{name: absent, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: absent, user: {}}]
"""


@pytest.mark.parametrize("kubeconfig", ["", NO_API], ids=["no kubeconfig", "no response"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["traffic"],
        ["traffic", "1.2=1"],
        ["predict", "[[1]]"],
        ["deploy", MODEL, "1.2"],
        ["undeploy", MODEL, "1.2"],
    ],
    ids=" ".join,
)
def test_a_cluster_that_cannot_be_reached_is_exit_code_5(
    sabia: Sabia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kubeconfig: str, arguments: list[str]
) -> None:
    file = tmp_path / "kubeconfig"
    if kubeconfig:
        file.write_text(kubeconfig)
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    done = sabia(*arguments, "--namespace", "any", store=None)
    assert (done.returncode, done.stderr.startswith("error: The cluster cannot be reached")) == (5, True), done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--image", "mine:1"], "--image and --model-class go together"),
        (["--model-class", "mine:Mine"], "--image and --model-class go together"),
        (["--artifact"], "and --artifact with them"),
        (["--image", "mine:1", "--model-class", "mine:Mine", "--faults", "errors=1"], "--faults are injected by"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_deploying_code_needs_an_image_and_a_class_of_it(sabia: Sabia, arguments: list[str], sentence: str) -> None:
    done = sabia("deploy", "mine", "1.0", *arguments, store=None)
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr


def test_labels_are_added_from_a_file(sabia: Sabia, tmp_path: Path) -> None:
    """Also a group of one command is called by its name."""
    (tmp_path / "labels.csv").write_text("request_id,label\na,1\nb,0\n")
    assert facts(sabia("labels", "add", MODEL, "labels.csv", "--json")) == {"model": MODEL, "labels": 2, "new": 2}
    assert sabia("labels", store=None).returncode == 2


def test_every_error_of_ours_has_an_exit_code() -> None:
    modules = [f"sabia.{path.parent.name}.errors" for path in Path(sabia_package.__file__).parent.glob("*/errors.py")]
    assert len(modules) > 5
    for module in map(importlib.import_module, modules):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__:
                assert issubclass(kind, SabiaError), f"{kind} would be a traceback"
                assert kind.exit_code in range(1, 6)
    assert CliError("no", 7).exit_code == 7


def test_a_folder_that_is_not_a_version_is_refused_in_one_line(sabia: Sabia, folder: Path) -> None:
    (folder / "manifest.json").unlink()
    done = sabia("serve", str(folder), "--http_port", "0", store=None)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "Not serving: There is no manifest.json at the given place, so there is no version to read."
    ]
