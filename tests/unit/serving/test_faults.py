from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sabia.contract.names import FAULT_HEADER
from sabia.registry.verification import Artifact
from sabia.serving.inference import faults
from sabia.serving.settings import Settings, parse
from tests.unit.serving.clients import INFER, JSON, Client


def with_faults(artifact: Artifact, text: str) -> Client:
    """A client of a server on which this goes wrong."""
    return Client(artifact, replace(Settings(), faults=text))


def body(rows: NDArray[np.float64]) -> bytes:
    return json.dumps({"instances": rows.tolist()}).encode()


def test_without_the_setting_nothing_goes_wrong(client: Client, rows: NDArray[np.float64]) -> None:
    response = client.predict(body(rows[:1]))
    assert (response.status_code, FAULT_HEADER in response.headers) == (200, False)


def test_errors_are_500_counted_and_marked(logistic: Artifact, rows: NDArray[np.float64]) -> None:
    client = with_faults(logistic, "errors=0.5")
    responses = [client.predict(body(rows[:1])) for _ in range(60)]
    statuses = Counter(response.status_code for response in responses)
    assert set(statuses) == {200, 500}
    assert {response.headers.get(FAULT_HEADER) for response in responses if response.status_code == 500} == {"errors"}
    assert client.value("sabia_requests_total", status_class="5xx") == statuses[500]


def test_a_fault_after_some_requests_passes_every_probe_before(logistic: Artifact, rows: NDArray[np.float64]) -> None:
    client = with_faults(logistic, "errors=1,after=3")
    assert [client.predict(body(rows[:1])).status_code for _ in range(5)] == [200, 200, 200, 500, 500]


def test_a_constant_and_a_wrong_prediction_are_as_set(
    client: Client, logistic: Artifact, rows: NDArray[np.float64]
) -> None:
    right = client.predict(body(rows[:5])).json()["predictions"]
    assert with_faults(logistic, "constant=0.25").predict(body(rows[:5])).json()["predictions"] == [0.25] * 5
    wrong = with_faults(logistic, "wrong=1").predict(body(rows[:5])).json()["predictions"]
    assert wrong == pytest.approx([1 - value for value in right])


def test_a_delay_is_the_predictions_own_time(logistic: Artifact, rows: NDArray[np.float64]) -> None:
    client = with_faults(logistic, "delay=30ms")
    client.predict(body(rows[:1]))
    assert client.value("sabia_decision_duration_seconds_sum") >= 0.03


def test_a_leak_keeps_its_bytes(rows: NDArray[np.float64]) -> None:
    found = faults.parse("leak=1000")
    assert found is not None
    for _ in range(3):
        found(lambda values: values[:, 0], rows[:1])
    assert sum(map(len, found.kept)) == 3000


def test_v2_requests_fail_the_same_way(logistic: Artifact, rows: NDArray[np.float64]) -> None:
    call = {"inputs": [{"name": "features", "shape": [1, 30], "datatype": "FP64", "data": rows[0].tolist()}]}
    response = with_faults(logistic, "errors=1")("POST", INFER, json.dumps(call).encode(), JSON)
    assert (response.status_code, response.headers[FAULT_HEADER]) == (500, "errors")


@pytest.mark.parametrize(
    "text", ["errors", "errors=2", "errors=x", "delay=soon", "leak=-1", "constant=nan", "unknown=1", "kept=1"]
)
def test_an_unknown_fault_ends_the_server_before_it_listens(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--faults", text], {})
    assert "--faults" in capsys.readouterr().err
