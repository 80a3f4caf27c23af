"""A version that cannot start gets no request, is reported in one line, and nothing else notices."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sabia.contract.layout import Version
from sabia.kubernetes import deployment
from sabia.kubernetes.cluster import Cluster
from sabia.kubernetes.documents import documents as documents_of
from sabia.kubernetes.errors import DeploymentFailed
from tests.cluster import tools
from tests.cluster.tools import MODEL, NAMESPACE, Served

Document = dict[str, Any]

FLIPPED = f"s3://sabia/flipped/models/{MODEL}/2.2/"
SECONDS = 45.0


def container(documents: list[Document]) -> Document:
    """The container of the InferenceService among documents."""
    service = next(item for item in documents if item["kind"] == "InferenceService")
    found: Document = service["spec"]["predictor"]["containers"][0]
    return found


def missing_image(documents: list[Document]) -> None:
    """An image that does not exist, at a registry that does not exist."""
    container(documents)["image"] = "localhost:1/sabia:there-is-no-such-tag"


def crash(documents: list[Document]) -> None:
    """A server that ends at once."""
    container(documents)["command"] = ["python", "-c", "raise SystemExit('the licence has run out')"]


def flipped_bit(documents: list[Document]) -> None:
    """A version of which one bit is not what was published."""
    env = container(documents)["env"]
    env[:] = [{"name": "STORAGE_URI", "value": FLIPPED}]


def as_it_is(documents: list[Document]) -> None:
    """Nothing is done to it."""


# Version, what is done to it, and what the one line has to name.
CASES: dict[str, tuple[str, Callable[[list[Document]], None], str]] = {
    "a version that was never published": ("9.9", as_it_is, "storage-initializer ended"),
    "a flipped bit": ("2.2", flipped_bit, "sha256"),
    "an image that is not there": ("2.1", missing_image, "there-is-no-such-tag"),
    "a server that ends at once": ("1.1", crash, "the licence has run out"),
}

COPY_AND_FLIP = f"""
from sabia.store.objects import Store
store = Store.open("s3://sabia")
prefix = "models/{MODEL}/2.2/"
for entry in store.list(prefix):
    data = bytearray(store.get(entry.key))
    if entry.key.endswith("model.onnx"):
        data[len(data) // 2] ^= 1
    store.create("flipped/" + entry.key, bytes(data))
"""


@pytest.fixture(scope="module")
def attempts(served: Served, url: str, row: list[float]) -> dict[str, tuple[str, tools.Load]]:
    """What deploying said in each case, all at once, and the load on the stable version meanwhile."""
    tools.run_pod(COPY_AND_FLIP, secret="models-s3-trainer")
    before = tools.get("httproute", MODEL)["spec"]

    def attempt(name: str) -> str:
        version, spoil, _ = CASES[name]
        documents = documents_of(MODEL, Version.parse(version), namespace=NAMESPACE)
        spoil(documents)
        with pytest.raises(DeploymentFailed) as failed:
            deployment.deploy(Cluster.connect(NAMESPACE), documents, seconds=SECONDS, log=lambda _: None, host=None)
        return str(failed.value)

    with tools.load(url, row) as load, ThreadPoolExecutor(len(CASES)) as pool:
        said = dict(zip(CASES, pool.map(attempt, CASES), strict=True))
    assert tools.get("httproute", MODEL)["spec"] == before, "the route was touched"
    tools.report("versions that cannot start", {**said, "requests meanwhile": dict(load.outcomes())})
    return {name: (line, load) for name, line in said.items()}


@pytest.mark.parametrize("case", CASES)
def test_it_is_reported_in_one_line_that_says_why(case: str, attempts: dict[str, tuple[str, tools.Load]]) -> None:
    line, _ = attempts[case]
    assert CASES[case][2] in line
    assert "\n" not in line
    assert f"Version {CASES[case][0]} was not ready" in line


@pytest.mark.parametrize("case", CASES)
def test_it_never_gets_a_request_and_stable_answers_all(case: str, attempts: dict[str, tuple[str, tools.Load]]) -> None:
    _, load = attempts[case]
    assert load.outcomes() == {"200": len(load.answers)}
    assert set(load.versions()) == {"1.2"}
    assert tools.status()[CASES[case][0]]["requests"] == 0


@pytest.mark.parametrize("case", CASES)
def test_nobody_can_give_it_a_weight(case: str, attempts: dict[str, tuple[str, tools.Load]]) -> None:
    version = CASES[case][0]
    before = tools.traffic()
    assert tools.sabia("traffic", "1.2=90", f"{version}=10", "--model", MODEL).returncode in {1, 3}
    assert tools.sabia("traffic", "--mirror", version, "--model", MODEL).returncode == 1
    assert tools.traffic() == before


@pytest.mark.parametrize("case", CASES)
def test_it_can_be_taken_away(case: str, attempts: dict[str, tuple[str, tools.Load]]) -> None:
    version = CASES[case][0]
    assert tools.sabia("undeploy", MODEL, version, "--quiet", "1").returncode == 0
    assert version not in tools.status()
