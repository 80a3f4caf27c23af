"""Counts of requests: the same on every path, and complete at each page of metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from sabia.contract.names import ROUTES
from sabia.registry.verification import Artifact
from sabia.serving.http.messages import Request, Response
from sabia.serving.inference.model import Model
from sabia.serving.telemetry.metrics import VersionMetrics
from sabia.serving.telemetry.recorder import Measured, Recorder
from tests.unit.serving.clients import JSON, MODEL, Client
from tests.unit.serving.test_v1 import instances

SECONDS = st.floats(0, 100)


def counted(model: Model, calls: list[Measured], routes: list[str]) -> dict[tuple[str, tuple[Any, ...]], float]:
    """Every sample but those of whole durations, which depend on the clock."""
    registry = CollectorRegistry()
    recorder = Recorder(model, VersionMetrics(model, registry), None)
    for call, route in zip(calls, routes, strict=True):
        response = Response()
        response.measured = call
        recorder.record(response, Request(b"POST", b"/", {}, b"", 0.0, route=route))
    recorder.flush()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.startswith("sabia_request_duration")
    }


@pytest.mark.slow
@given(
    st.lists(st.tuples(SECONDS, SECONDS, SECONDS, st.floats(0, 1), st.sampled_from(ROUTES)), max_size=150),
    st.integers(0, 2**32 - 1),
)
def test_single_rows_are_counted_as_requests_of_one_row_are(
    logistic: Artifact, calls: list[tuple[float, float, float, float, str]], seed: int
) -> None:
    model = Model(logistic)
    source = np.random.default_rng(seed)
    # Some of the values lie outside the training range.
    rows = model.minimum + source.uniform(-0.2, 1.2, (len(calls), model.width)) * (model.maximum - model.minimum)
    routes = [route for *_, route in calls]

    def measured(of: Callable[[float, int], tuple[Any, Any]]) -> list[Measured]:
        return [
            Measured("predict", read, decide, write, *of(prediction, at))
            for at, (read, decide, write, prediction, _) in enumerate(calls)
        ]

    singly = counted(model, measured(lambda prediction, at: (prediction, rows[at].tolist())), routes)
    arrays = counted(model, measured(lambda prediction, at: (np.array([prediction]), rows[at : at + 1])), routes)
    assert singly == pytest.approx(arrays)


@pytest.mark.parametrize("calls", [1, 63, 64, 65, 200])
def test_a_page_of_metrics_has_every_request_that_was_answered_before_it(logistic: Artifact, calls: int) -> None:
    client = Client(logistic)
    for number in range(calls):
        assert (
            client.predict(instances("1"), JSON | ({"x-model-version": "2.0"} if number % 2 else {})).status_code == 200
        )
    page = client("GET", "/metrics").text.splitlines()
    for name in ("sabia_predictions_total", "sabia_decision_duration_seconds_count", "sabia_requests_total"):
        found = [line for line in page if line.startswith(name + "{") and MODEL in line]
        assert sum(float(line.rpartition(" ")[2]) for line in found) == calls
