"""The overlays: keys, limits, KServe's own server, replicas by load."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator

import pytest
import requests

from sabia.training.datasets import Dataset
from tests.cluster import tools
from tests.cluster.tools import HOST, MODEL, NAMESPACE, Served
from tests.waiting import eventually

STABLE = f"{MODEL}-v1-2"


@pytest.fixture
def key(served: Served) -> Iterator[str]:
    """A client's key, at a gateway that asks for one."""
    found = secrets.token_hex(16)
    tools.kubectl("create", "secret", "generic", "-n", NAMESPACE, "gateway-api-keys", f"--from-literal=tests={found}")
    tools.apply_folder("gateway/api-keys")
    yield found
    tools.kubectl("delete", "-n", NAMESPACE, f"securitypolicy/{MODEL}", "secret/gateway-api-keys")


def test_without_a_key_the_gateway_refuses_and_no_predictor_hears_of_it(
    key: str, split: None, url: str, row: list[float]
) -> None:
    eventually(lambda: tools.ask(url, row).status_code == 401)
    before = tools.status()["1.2"]["requests"]
    refused = [tools.ask(url, row, headers=headers) for headers in ({}, {"x-api-key": "wrong"}) for _ in range(20)]
    assert {answer.status_code for answer in refused} == {401}
    assert tools.status()["1.2"]["requests"] == before
    assert {tools.ask(url, row, headers={"x-api-key": key}).status_code for _ in range(20)} == {200}
    assert tools.status()["1.2"]["requests"] == before + 20


@pytest.fixture
def limits(served: Served) -> Iterator[None]:
    """The overlay, with a limit that a test can reach."""
    tools.apply_folder("gateway/limits")
    limit = [{"op": "replace", "path": "/spec/rateLimit/local/rules/0/limit", "value": {"requests": 5, "unit": "Hour"}}]
    policy = f"backendtrafficpolicy/{MODEL}"
    tools.kubectl("patch", "-n", NAMESPACE, policy, "--type=json", "-p", json.dumps(limit))
    yield
    tools.kubectl("delete", "-n", NAMESPACE, policy)


def test_what_is_over_the_limit_is_refused_by_the_gateway(
    limits: None, split: None, url: str, row: list[float]
) -> None:
    eventually(lambda: tools.ask(url, row).status_code == 429)
    before = tools.status()["1.2"]["requests"]
    assert Counter(tools.ask(url, row).status_code for _ in range(20)) == {429: 20}
    assert tools.status()["1.2"]["requests"] == before


@pytest.fixture
def kserves_server(served: Served) -> Iterator[None]:
    """Version 1.2 on KServe's own ModelServer, from the same artifact."""
    tools.apply_folder("modelserver/breast-cancer-v1-2")
    rolling = tools.Rollout(STABLE)
    eventually(rolling.is_complete, seconds=120)
    yield
    assert tools.sabia("deploy", MODEL, "1.2").returncode == 0


def answers(url: str, rows: list[list[float]]) -> tuple[str | None, list[float], list[float]]:
    """Who answers, by its header, and the predictions of V1 and V2."""
    one = requests.post(
        f"{url}/v1/models/{MODEL}:predict", json={"instances": rows}, headers={"host": HOST}, timeout=10
    )
    tensor = {"name": "features", "datatype": "FP64", "shape": [len(rows), len(rows[0])], "data": rows}
    two = requests.post(f"{url}/v2/models/{MODEL}/infer", json={"inputs": [tensor]}, headers={"host": HOST}, timeout=10)
    return one.headers.get("x-model-version"), one.json()["predictions"], two.json()["outputs"][0]["data"]


@pytest.fixture
def ours(split: None, url: str, dataset: Dataset) -> tuple[str | None, list[float], list[float]]:
    """What our own server answers."""
    return answers(url, dataset.features[:20].tolist())


def test_kserves_own_server_answers_from_the_same_artifact_as_ours(
    ours: tuple[str | None, list[float], list[float]], kserves_server: None, url: str, dataset: Dataset
) -> None:
    version, one, two = answers(url, dataset.features[:20].tolist())
    assert (ours[0], version) == ("1.2", None), "KServe's server does not name the version"
    assert (one, two) == (ours[1], ours[2])
    assert one == two


@pytest.fixture
def autoscaled(served: Served) -> Iterator[None]:
    """The stable version with replicas by load; at first as few as may be."""
    tools.apply_folder("autoscaling/breast-cancer-v1-2")
    eventually(lambda: tools.readiness(STABLE) == [True, True], seconds=120)
    yield
    tools.kubectl("delete", "-n", NAMESPACE, f"hpa/{STABLE}")
    assert tools.sabia("deploy", MODEL, "1.2").returncode == 0


def ready() -> int:
    """Pods of the stable version that answer."""
    return sum(tools.readiness(STABLE))


def test_load_makes_it_grow_and_shrink_and_a_rolling_update_never_goes_under(
    autoscaled: None, split: None, url: str, row: list[float]
) -> None:
    with tools.load(url, row, pause=0.05) as light:
        # Many rows a call: single ones cost a predictor so little that these clients could not keep two replicas busy.
        with tools.load(url, row, rows=400, pause=0.0) as heavy:
            eventually(lambda: ready() >= 3, seconds=180)
            grown = heavy.now()
            # A change to the pods while they are many: as many have to be ready at every moment of the roll-out.
            wanted, fewest = ready(), ready()
            change = [{"op": "add", "path": "/spec/predictor/annotations", "value": {"sabia.dev/restarted": "once"}}]
            tools.kubectl("patch", "-n", NAMESPACE, f"isvc/{STABLE}", "--type=json", "-p", json.dumps(change))
            rolling = tools.Rollout(STABLE)
            while not rolling.is_complete():
                fewest = min(fewest, rolling.available())
        calm = light.now()
        eventually(lambda: len(tools.pods_of(STABLE)) == 2, seconds=240)
        shrunk = light.now()
    facts = {
        "replicas": [2, wanted, 2],
        "grown after, seconds": round(grown, 1),
        "shrunk after, seconds": round(shrunk - calm, 1),
        "fewest available in the rolling update": fewest,
        "outcomes": dict(light.outcomes() + heavy.outcomes()),
    }
    tools.report("replicas by load", facts)
    assert fewest >= wanted
    assert light.failed() + heavy.failed() == 0
