from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from sabia.contract.durations import EDGES, LABELS, LONGEST, RATIO, SHORTEST
from sabia.registry.verification import Artifact
from sabia.serving.inference.model import FAST_PATH_TOLERANCE, Model
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import VersionMetrics
from tests.unit.serving.clients import INFER, JSON, MODEL, PREDICT, Client, Wire
from tests.unit.serving.test_v1 import error, instances

LIMIT = 4096


@pytest.fixture
def small(logistic: Artifact) -> Client:
    """A client of a server that reads at most four KiB."""
    return Client(logistic, replace(Settings(), max_body_bytes=LIMIT))


@pytest.mark.parametrize("path", [PREDICT, INFER])
def test_a_body_over_the_limit_is_a_413_and_the_connection_closes(small: Client, path: str) -> None:
    response = small("POST", path, b" " * (LIMIT + 1), JSON)
    assert response.status_code == 413
    assert str(LIMIT) in error(response)
    assert response.headers["connection"] == "close"


def test_a_body_at_the_limit_is_read(small: Client) -> None:
    body = instances("1")
    assert small.predict(body + b" " * (LIMIT - len(body))).status_code == 200


def test_a_body_that_does_not_say_its_length_is_cut_off_at_the_limit(small: Client) -> None:
    async def call(wire: Wire) -> httpx.Response:
        wire.writer.write(f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for _ in range(10):
            wire.writer.write(b"%x\r\n%b\r\n" % (LIMIT, b" " * LIMIT))
        return await wire.response()

    assert small.connected(call).status_code == 413


def test_the_default_limit_is_four_mebibytes() -> None:
    assert Settings().max_body_bytes == 4 * 1024 * 1024


def test_a_large_request_gets_the_predictions_of_many_small_ones(client: Client, rows: NDArray[np.float64]) -> None:
    """Large requests are answered in a thread."""
    body = json.dumps({"instances": rows.tolist()}).encode()
    assert len(body) > 64 * 1024
    together = client.predict(body).json()["predictions"]
    apart = [
        client.predict(json.dumps({"instances": [row]}).encode()).json()["predictions"][0] for row in rows[:20].tolist()
    ]
    assert together[:20] == pytest.approx(apart, abs=FAST_PATH_TOLERANCE)


def test_totals_equal_the_requests(client: Client) -> None:
    for body in (instances("1"), instances("1", "2"), b"{}"):
        client.predict(body)
    client("GET", PREDICT)
    client("POST", "/v1/models/other:predict", instances("1"), JSON)
    client("GET", "/v1/models/breast-cancer")
    assert client.value("sabia_requests_total", status_class="2xx") == 2
    assert client.value("sabia_requests_total", status_class="4xx") == 2
    assert client.value("sabia_requests_total", status_class="5xx") == 0
    assert client.value("sabia_request_duration_seconds_count") == 4
    assert client.value("sabia_decision_duration_seconds_count") == 2


def test_every_prediction_is_counted_in_its_bin(client: Client, rows: NDArray[np.float64]) -> None:
    predictions = np.array(client.predict(json.dumps({"instances": rows.tolist()}).encode()).json()["predictions"])
    edges = client.model.bins
    for at in range(len(edges) + 1):
        low, high = ([-np.inf, *edges, np.inf])[at : at + 2]
        expected = np.count_nonzero((predictions >= low) & (predictions < high))
        assert client.value("sabia_predictions_total", bin=str(at)) == expected


def test_inputs_outside_the_training_range_are_counted_by_feature(client: Client) -> None:
    features = client.artifact.manifest.inputs
    row = {feature.name: feature.minimum for feature in features}
    client.predict(json.dumps({"instances": [row, row | {"mean area": 1e9}, row | {"mean area": -1.0}]}).encode())
    assert client.value("sabia_inputs_out_of_range_total", feature="mean area") == 2
    assert client.value("sabia_inputs_out_of_range_total", feature="mean radius") == 0


def test_the_info_metric_names_version_and_digest(client: Client) -> None:
    assert client.value("sabia_model_info", digest=client.artifact.manifest.digest) == 1


def test_the_metrics_page_is_one_that_prometheus_reads(client: Client) -> None:
    client.predict(instances("1"))
    page = client("GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    families = {family.name for family in text_string_to_metric_families(page.text)}
    assert {
        "sabia_requests",
        "sabia_request_duration_seconds",
        "sabia_decision_duration_seconds",
        "sabia_predictions",
        "sabia_inputs_out_of_range",
        "sabia_log_dropped",
        "sabia_model_info",
    } <= families


def test_kserves_own_histograms_are_fed_under_its_names_and_with_its_buckets(client: Client) -> None:
    from kserve import metrics as theirs

    client.predict(instances("1"))
    labels = theirs.get_labels(MODEL)
    histograms = (theirs.PRE_HIST_TIME, theirs.PREDICT_HIST_TIME, theirs.POST_HIST_TIME)
    for histogram in histograms:
        (family,) = histogram.collect()
        histogram.labels(**labels).observe(0.001)
        (family,) = histogram.collect()
        # Other tests may have served other models by KServe's server in this process.
        samples = [sample for sample in family.samples if labels.items() <= sample.labels.items()]
        for name, sampled in [(each.name, each.labels) for each in samples if not each.name.endswith("_created")]:
            found = client.sample(name, sampled)
            assert found is not None
            assert name.endswith("_sum") or found == 1


def test_the_buckets_are_fine_enough_and_cover_what_is_promised() -> None:
    assert (EDGES[0], EDGES[-1]) == (SHORTEST, LONGEST)
    # Edges are printed with six digits, which rounds each by at most one in 200,000.
    assert all(after / before <= RATIO * 1.00001 for before, after in pairwise(EDGES))


@pytest.mark.slow
@given(durations=st.lists(st.floats(0, 1000), max_size=30))
def test_durations_are_counted_as_prometheus_does(logistic: Artifact, durations: list[float]) -> None:
    registry = CollectorRegistry()
    metrics = VersionMetrics(Model(logistic), registry)
    for seconds in durations:
        metrics.count_response(200, seconds)
    labels = {"model": MODEL, "version": "2.0", "route": "split"}
    for edge in (*LABELS[::20], "+Inf"):
        found = registry.get_sample_value("sabia_request_duration_seconds_bucket", labels | {"le": edge})
        assert found == sum(seconds <= float(edge) for seconds in durations)


def test_no_metric_has_a_label_that_a_client_can_invent(client: Client) -> None:
    client("POST", "/v1/models/invented:predict", instances("1"), JSON)
    client.predict(json.dumps({"instances": [{"invented": 1}]}).encode())
    assert re.search("invented", client("GET", "/metrics").text) is None
