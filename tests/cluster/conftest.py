"""The platform on a real cluster, made once from the manifests, with the commands that the README gives."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sabia.training.datasets import Dataset, load
from tests.cluster import tools
from tests.cluster.tools import MODEL, NAMESPACE, STORE, Served
from tests.waiting import eventually

SIX = ["1.0", "1.1", "1.2", "2.0", "2.1", "2.2"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a cluster."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures that the tests saw."""
    for name, figures in tools.FIGURES.items():
        terminalreporter.write_line(f"{name}: {json.dumps(figures, ensure_ascii=False)}")


@pytest.fixture(scope="session")
def url() -> str:
    """Where the inference gateway is reached from here."""
    return os.environ.get("SABIA_GATEWAY", "http://127.0.0.1:8080")


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Real rows."""
    return load("sklearn:breast_cancer")


@pytest.fixture(scope="session")
def row(dataset: Dataset) -> list[float]:
    """One real row."""
    found: list[float] = dataset.features[0].tolist()
    return found


@pytest.fixture(scope="session")
def namespaces() -> Iterator[None]:
    """Two empty namespaces."""
    if "KUBECONFIG" not in os.environ:
        pytest.fail("these tests need a cluster with KServe: set KUBECONFIG")
    tools.kubectl("delete", "namespace", NAMESPACE, STORE, "--ignore-not-found")
    tools.apply_folder("cluster")
    yield
    tools.kubectl("delete", "namespace", NAMESPACE, STORE, "--wait=false")


@pytest.fixture(scope="session")
def store(namespaces: None) -> None:
    """MinIO, with its bucket and its users."""
    tools.apply_folder("store/minio")
    tools.kubectl("wait", "-n", STORE, "job/minio-setup", "--for=condition=Complete", "--timeout=240s")


@pytest.fixture(scope="session")
def training(store: None) -> dict[str, list[str]]:
    """What two training Jobs said that ran at once on an empty store."""
    tools.apply_folder("training")
    tools.kubectl("create", "job", "-n", NAMESPACE, "training-beside", "--from=cronjob/training")
    jobs = ("training", "training-beside")
    for job in jobs:
        tools.kubectl("wait", "-n", NAMESPACE, f"job/{job}", "--for=condition=Complete", "--timeout=240s")
    return {job: tools.kubectl("logs", "-n", NAMESPACE, f"job/{job}").splitlines() for job in jobs}


@pytest.fixture(scope="session")
def served(training: dict[str, list[str]], url: str, row: list[float]) -> Served:
    """Versions 1.2 and 2.0 behind the gateway; the first gets everything."""
    done = tools.sabia("deploy", MODEL, "1.2", "2.0")
    assert done.returncode == 0, done.stderr
    eventually(lambda: tools.ask(url, row).ok)
    shown = tools.sabia("status", "--model", MODEL, "--json")
    assert shown.returncode == 0, shown.stderr
    return {item["version"]: item for item in json.loads(shown.stdout)["versions"]}


@pytest.fixture
def split(served: Served) -> Iterator[None]:
    """The split, given back as it was: everything to 1.2, no mirror."""
    yield
    tools.traffic("1.2=100", "--no-mirror")


@pytest.fixture(scope="module")
def operator(served: Served) -> Iterator[None]:
    """The operator, from its manifests."""
    tools.apply_folder("operator")
    tools.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/rollouts", "--timeout=120s")
    yield
    tools.kubectl("delete", "rollouts", "-n", NAMESPACE, "--all", "--timeout=60s")
    tools.kubectl("delete", "deployment", "-n", NAMESPACE, "rollouts")
