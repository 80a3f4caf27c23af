"""What a real predictor prints is what is read."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from sabia.contract.metrics import samples
from sabia.registry.verification import Artifact
from sabia.rollout.errors import NotScraped
from sabia.rollout.samples import counters_from_samples
from sabia.serving.settings import Settings
from sabia.training.datasets import load
from tests.unit.serving.clients import JSON, PREDICT, Client


@pytest.fixture
def client(logistic: Artifact) -> Client:
    """A client of version 2.0."""
    return Client(logistic)


@pytest.fixture(scope="session")
def rows() -> NDArray[np.float64]:
    """Real rows."""
    return load("sklearn:breast_cancer").features


def body(rows: NDArray[np.float64]) -> bytes:
    return json.dumps({"instances": rows.tolist()}).encode()


@pytest.mark.slow
def test_counters_are_the_calls_of_the_split(client: Client, rows: NDArray[np.float64]) -> None:
    for row in rows[:20]:
        client.predict(body(row[None]))
    client.predict(b"{}")
    found = counters_from_samples(samples(client("GET", "/metrics").text))
    assert (found.requests, found.errors) == (20, 0), "a client's fault says nothing of the version"
    assert sum(found.decision.values()) == 20
    assert sum(found.duration.values()) == 21
    assert sum(found.bins.values()) == 20
    assert len(found.bins) == 20, "every bin is present, including empty ones"


@pytest.mark.parametrize(
    ("headers", "route"), [({"x-model-version": "2.0"}, "pin"), ({"host": "any.example.com-shadow:80"}, "mirror")]
)
def test_pins_and_copies_are_counted_apart_and_not_compared(
    logistic: Artifact, rows: NDArray[np.float64], headers: dict[str, str], route: str
) -> None:
    client = Client(logistic, Settings(behind_gateway=True))
    client("POST", PREDICT, body(rows[:1]), JSON | headers)
    assert client.value("sabia_requests_total", status_class="2xx", route=route) == 1
    assert counters_from_samples(samples(client("GET", "/metrics").text)).requests == 0


def test_durations_in_other_buckets_are_not_compared() -> None:
    text = 'sabia_decision_duration_seconds_bucket{le="0.123",model="m",route="split",version="1.0"} 4.0\n'
    with pytest.raises(NotScraped, match=r"bucket 0\.123"):
        counters_from_samples(samples(text))
