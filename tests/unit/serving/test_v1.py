"""V1 requests: each row of the list of what KServe's own server gets wrong, and what it gets right."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit

from sabia.registry.verification import Artifact
from tests.unit.serving.clients import EXPLAIN, INFER, JSON, PREDICT, Client

Rows = NDArray[np.float64]
ONES = ",".join(["1"] * 29)


def instances(*cells: str) -> bytes:
    """A body with one row for each first cell, the other 29 being 1."""
    return ('{"instances": [' + ",".join(f"[{cell},{ONES}]" for cell in cells) + "]}").encode()


def error(response: Any) -> str:
    """The sentence of an error response, after checking its form."""
    document = response.json()
    assert list(document) == ["error"]
    assert len(response.content) < 2048
    assert document["error"].endswith(".")
    assert "Traceback" not in document["error"]
    assert re.search(r"(^|[\s'\"])/\w", document["error"]) is None, "no path of the server"
    found: str = document["error"]
    return found


def test_rows_as_lists_and_as_objects_get_the_same_predictions(client: Client, rows: Rows) -> None:
    names = [feature.name for feature in client.artifact.manifest.inputs]
    lists = client.predict(json.dumps({"instances": rows[:5].tolist()}).encode())
    shuffled = [dict(reversed(list(zip(names, row, strict=True)))) for row in rows[:5].tolist()]
    objects = client.predict(json.dumps({"instances": shuffled}).encode())
    assert lists.status_code == objects.status_code == 200
    assert lists.json() == objects.json()
    assert len(lists.json()["predictions"]) == 5


def test_every_response_names_the_version(client: Client) -> None:
    for response in (
        client.predict(instances("1")),
        client.predict(b"{}"),
        client("GET", "/v1/models"),
        client("GET", "/x"),
    ):
        assert response.headers["x-model-version"] == "2.0"


@pytest.mark.slow
@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=30, max_size=30), min_size=1, max_size=4))
def test_any_finite_rows_get_a_probability_each(logistic: Artifact, values: list[list[float]]) -> None:
    response = Client(logistic).predict(json.dumps({"instances": values}).encode())
    assert response.status_code == 200
    assert len(response.json()["predictions"]) == len(values)
    assert all(0 <= value <= 1 for value in response.json()["predictions"])


def test_inputs_means_instances(client: Client) -> None:
    as_inputs = client.predict(instances("1").replace(b"instances", b"inputs"))
    assert as_inputs.status_code == 200
    assert as_inputs.json() == client.predict(instances("1")).json()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{}", '"instances" is missing'),
        (b'{"instances": 5}', '"instances" is a number'),
        (b'{"instances": "abc"}', '"instances" is a string'),
        (b'{"instances": {}}', '"instances" is an object'),
        (b'{"instances": null}', '"instances" is null'),
        (b'{"instances": true}', '"instances" is a boolean'),
        (b'{"instances": []}', '"instances" is empty'),
        (b'{"instances": [[]]}', "instances[0] has 0 values"),
        (b'{"instances": [[1,2,3]]}', "instances[0] has 3 values"),
        (b'{"instances": [1,2,3]}', "instances[0] is a number"),
        (instances("1")[:-2] + b",[1,2]]}", "instances[1] has 2 values"),
        (instances("1,1"), "instances[0] has 31 values"),
        (instances("[1]"), "instances[0][0] is a list"),
        (instances("1", "null"), "instances[1][0] is null"),
        (instances('"1"'), "instances[0][0] is a string"),
        (instances("true"), "instances[0][0] is a boolean"),
        (instances("{}"), "instances[0][0] is an object"),
        (b'{"instances": [{"mean radius": 1}]}', 'instances[0] lacks feature "mean texture"'),
        (b'{"instances": [{"shoe size": 1}]}', "instances[0] has an unknown feature 'shoe size'"),
        (b'{"instances": [{"mean radius": null}]}', 'instances[0]["mean radius"] is null'),
        (b'{"instances": [[1]], "inputs": [[1]]}', '"instances" and "inputs" mean the same'),
        (b"[1]", "The body is a list"),
        (b"1", "The body is a number"),
        (b"null", "The body is null"),
        (b'"text"', "The body is a string"),
        (b"", "The body is empty"),
        (b'{"instances": [', "The body is not JSON"),
        (b"\xff\xfe", "The body is not JSON"),
        (b"\xef\xbb\xbf" + instances("1"), "The body is not JSON"),
        (instances("NaN"), "The body is not JSON"),
        (instances("-Infinity"), "The body is not JSON"),
        (instances("1e999"), "The body is not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "The body is not JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_is_a_400_that_names_the_field(client: Client, body: bytes, named: str) -> None:
    response = client.predict(body)
    assert response.status_code == 400
    assert named in error(response)


def test_an_error_response_stays_short_whatever_was_sent(client: Client) -> None:
    response = client.predict(json.dumps({"instances": [{"x" * 100_000: 1}]}).encode())
    assert response.status_code == 400
    assert "has an unknown feature 'xxx" in error(response)


@pytest.mark.parametrize(
    "body",
    [
        instances("1e99"),
        instances("36893488147419103232"),
        instances("-0.0"),
        instances("1").replace(b"}", b',"extra":1}'),
    ],
    ids=["1e99", "beyond 64 bits", "minus zero", "another key beside"],
)
def test_every_form_of_a_number_is_accepted(client: Client, body: bytes) -> None:
    assert client.predict(body).status_code == 200


def test_of_a_key_given_twice_the_last_one_counts(client: Client) -> None:
    twice = b'{"instances": [[1]], ' + instances("1")[1:]
    assert client.predict(twice).json() == client.predict(instances("1")).json()


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "application/json; charset=utf-8", "Application/JSON", "application/octet-stream"],
)
def test_json_is_read_however_its_type_is_written(client: Client, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    assert client.predict(instances("1"), headers).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "nonsense"]
)
@pytest.mark.parametrize("path", [PREDICT, EXPLAIN, INFER])
def test_another_media_type_is_a_415(client: Client, content_type: str, path: str) -> None:
    response = client("POST", path, instances("1"), {"content-type": content_type})
    assert response.status_code == 415
    assert "Content-Type" in error(response)


@pytest.mark.parametrize("path", [PREDICT, INFER])
def test_a_compressed_body_is_a_415(client: Client, path: str) -> None:
    response = client("POST", path, b"\x1f\x8b", JSON | {"content-encoding": "gzip"})
    assert response.status_code == 415
    assert "Content-Encoding" in error(response)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PREDICT, 405),
        ("PUT", PREDICT, 405),
        ("DELETE", PREDICT, 405),
        ("POST", "/v1/models/breast-cancer", 405),
        ("POST", "/v1/models/breast-cancer:frobnicate", 405),
        ("GET", INFER, 405),
        ("POST", "/v2/health/live", 405),
        ("POST", "/v1/models/other:predict", 404),
        ("GET", "/v1/models/other", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/nothing/here", 404),
        ("POST", "/v2/repository/models/breast-cancer/unload", 404),
        ("POST", "/v2/repository/models/breast-cancer/load", 404),
        ("POST", "/v2/repository/index", 404),
    ],
)
def test_an_unknown_path_method_or_version_is_refused_in_one_sentence(
    client: Client, method: str, path: str, status: int
) -> None:
    response = client(method, path, b"not even json", JSON)
    assert response.status_code == status
    assert error(response)


def test_an_unload_request_changes_nothing(client: Client) -> None:
    client("POST", "/v2/repository/models/breast-cancer/unload")
    assert client.predict(instances("1")).status_code == 200


def test_a_wrong_method_names_the_right_one(client: Client) -> None:
    assert client("GET", PREDICT).headers["allow"] == "POST"


@pytest.mark.parametrize("ready", [True, False])
def test_a_model_that_is_not_ready_is_a_503_everywhere(client: Client, ready: bool) -> None:
    client.app.readiness.model_ready = ready
    status = 200 if ready else 503
    for path in ("/v1/models/breast-cancer", "/v2/models/breast-cancer/ready", "/v2/health/ready"):
        response = client("GET", path)
        assert (response.status_code, response.json()["ready"]) == (status, ready)
    assert client.predict(instances("1")).status_code == status
    assert client("GET", "/v2/models/breast-cancer").status_code == status
    assert client("GET", "/v2/health/live").json() == {"live": True}


def test_while_draining_readiness_is_off_and_each_response_closes_its_connection(client: Client) -> None:
    client.app.readiness.draining = True
    assert client("GET", "/v1/models/breast-cancer").status_code == 503
    response = client.predict(instances("1"))
    assert response.status_code == 200
    assert response.headers["connection"] == "close"


def test_a_model_that_fails_is_a_500_that_reveals_nothing(client: Client) -> None:
    client.model.predict_row = _failing  # a model that fails is hard to train
    response = client.predict(instances("1"))
    assert response.status_code == 500
    assert error(response) == "The model failed on this request; the server's log says why."


def _failing(row: Sequence[float]) -> float:
    del row
    raise ZeroDivisionError("/secret/path")


def test_linear_methods_explain_their_predictions(linear: Artifact, logistic: Artifact, rows: Rows) -> None:
    clip, logistic_function = partial(np.clip, a_min=0, a_max=1), expit
    for artifact, link in ((linear, clip), (logistic, logistic_function)):
        client = Client(artifact)
        body = json.dumps({"instances": rows[:3].tolist()}).encode()
        explanations = client("POST", EXPLAIN, body, JSON).json()["explanations"]
        predictions = client.predict(body).json()["predictions"]
        for explanation, prediction in zip(explanations, predictions, strict=True):
            score = explanation["intercept"] + sum(explanation["contributions"].values())
            assert score == pytest.approx(explanation["score"])
            assert link(score) == pytest.approx(prediction) == pytest.approx(explanation["prediction"])


def test_an_explanation_never_repeats_the_headers_of_the_request(client: Client) -> None:
    response = client("POST", EXPLAIN, instances("1"), JSON | {"authorization": "Bearer hush", "cookie": "hush"})
    assert b"hush" not in response.content
    assert not any("hush" in value for value in response.headers.values())


def test_explaining_methods_that_are_not_linear_is_a_405(client: Client) -> None:
    client.model.linear = None
    response = client("POST", EXPLAIN, instances("1"), JSON)
    assert response.status_code == 405
    assert "cannot be explained" in error(response)


EVENT = {"specversion": "1.0", "id": "1", "source": "test", "type": "question"}
BINARY_EVENT = {f"ce-{name}": value for name, value in EVENT.items()}


def test_a_structured_event_gets_one_with_or_without_a_time(client: Client) -> None:
    for extra in ({}, {"time": "2026-01-01T00:00:00Z"}):
        event = EVENT | extra | {"data": json.loads(instances("1"))}
        response = client.predict(json.dumps(event).encode(), {"content-type": "application/cloudevents+json"})
        assert response.status_code == 200
        event = response.json()
        assert event["data"] == client.predict(instances("1")).json()
        assert (event["specversion"], event["type"]) == ("1.0", "io.kserve.inference.response")
        assert response.headers["content-type"] == "application/cloudevents+json"


def test_a_binary_event_gets_one(client: Client) -> None:
    response = client.predict(instances("1"), JSON | BINARY_EVENT)
    assert response.status_code == 200
    assert response.headers["ce-type"] == "io.kserve.inference.response"
    assert response.json() == client.predict(instances("1")).json()


@pytest.mark.parametrize("missing", BINARY_EVENT)
def test_a_binary_event_without_a_required_attribute_is_a_400(client: Client, missing: str) -> None:
    headers = {name: value for name, value in BINARY_EVENT.items() if name != missing}
    response = client.predict(instances("1"), JSON | headers)
    assert response.status_code == 400
    assert missing in error(response)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", JSON | BINARY_EVENT),
        (b"{", {"content-type": "application/cloudevents+json"}),
        (b"[]", {"content-type": "application/cloudevents+json"}),
        (b"{}", {"content-type": "application/cloudevents+json"}),
        (json.dumps(EVENT).encode(), {"content-type": "application/cloudevents+json"}),
    ],
)
def test_a_broken_event_is_a_400(client: Client, body: bytes, headers: dict[str, str]) -> None:
    response = client.predict(body, headers)
    assert response.status_code == 400
    assert error(response)
