"""What the server makes of a class's results, errors and headers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sabia.serving.settings import Settings
from tests.unit.serving.custom.clients import Served, served
from tests.unit.serving.custom.models import Sums, Troubles, Versioned


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """A server of two classes."""
    with served(Sums(), Troubles(), settings=Settings(model_version="1.2")) as running:
        yield running


def test_a_class_is_loaded_and_answers_v1_with_its_pre_and_post_processing(server: Served) -> None:
    response = server.http.post("/v1/models/sums:predict", json={"rows": [[1, 2], [3, 4]]})
    assert response.json() == {"predictions": [4.0, 8.0], "unit": "mm"}


def test_a_response_names_the_version_and_the_request(server: Served) -> None:
    response = server.predict("sums", [1, 2], headers={"x-request-id": "mine"})
    assert (response.headers["x-model-version"], response.headers["x-request-id"]) == ("1.2", "mine")


def test_headers_reach_the_model_and_come_back_from_it(server: Served) -> None:
    assert server.predict("sums", [1, 2], headers={"x-tenant": "birds"}).headers["x-tenant"] == "birds"


def test_explain_is_the_class_s_own(server: Served) -> None:
    response = server.http.post("/v1/models/sums:explain", json={"instances": [[1, 5]]})
    assert response.json() == {"explanations": [{"largest": 5}], "unit": "mm"}


def test_v2_answers_tensors_and_names_the_version(server: Served) -> None:
    body = {"id": "7", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}
    document = server.http.post("/v2/models/sums/infer", json=body).json()
    assert (document["id"], document["model_version"], document["outputs"][0]["data"]) == ("7", "1.2", [4.0])


@pytest.mark.parametrize(
    ("word", "status", "body"),
    [
        ("raise", 500, {"error": "The model failed on this request; the server's log says why."}),
        ("refuse", 400, {"error": "the colour is not one"}),
        ("teapot", 429, {"detail": "come back later"}),
        ("unready", 503, {"error": "Model with name troubles is not ready."}),
        ("unimplemented", 501, {"error": "The model does not implement this."}),
        ("none", 500, {"error": "The model failed on this request; the server's log says why."}),
        ("object", 500, {"error": "The model failed on this request; the server's log says why."}),
        ("exit", 500, {"error": "The model failed on this request; the server's log says why."}),
        ("cancel", 500, {"error": "The model failed on this request; the server's log says why."}),
        ("interrupt", 500, {"error": "The model failed on this request; the server's log says why."}),
        ("later", 200, {"predictions": [3.0]}),
        ("huge", 500, {"error": "The model failed on this request; the server's log says why."}),
        ("array", 200, {"predictions": [1.5, 2.5], "best": 0.5}),
    ],
)
def test_every_outcome_has_its_status_and_one_sentence(
    server: Served, word: str, status: int, body: dict[str, Any]
) -> None:
    response = server.predict("troubles", word)
    assert (response.status_code, response.json()) == (status, body)


def test_an_error_s_own_headers_reach_the_client(server: Served) -> None:
    assert server.predict("troubles", "teapot").headers["retry-after"] == "7"


@pytest.mark.parametrize("word", ["text", "stream"])
def test_text_and_streams_are_sent_as_they_are(server: Served, word: str) -> None:
    assert server.predict("troubles", word).text == "one, two"


def test_a_body_of_another_media_type_reaches_the_model_as_bytes(server: Served) -> None:
    response = server.http.post("/v1/models/sums:predict", content=b"12345", headers={"content-type": "image/png"})
    assert response.json()["predictions"] == [5]


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"instances": 3}', "application/json", 400),
        (b'{"colour": 3}', "application/json", 400),
        (b"[1]", "application/json", 400),
        (b"a=1", "application/x-www-form-urlencoded", 415),
    ],
)
def test_what_no_model_could_answer_is_the_client_s_fault(
    server: Served, content: bytes, media_type: str, status: int
) -> None:
    response = server.http.post("/v1/models/troubles:predict", content=content, headers={"content-type": media_type})
    assert response.status_code == status


def test_several_models_are_listed_and_each_has_its_metrics(server: Served) -> None:
    assert server.http.get("/v1/models").json() == {"models": ["sums", "troubles"]}
    assert server.http.get("/v2/models/sums/ready").json() == {"name": "sums", "ready": True}
    assert server.http.post("/v1/models/other:predict", json={}).status_code == 404
    before = server.value("sabia_requests_total", model="sums", version="1.2", route="split", status_class="2xx")
    server.predict("sums", [1, 2])
    after = server.value("sabia_requests_total", model="sums", version="1.2", route="split", status_class="2xx")
    assert after == before + 1
    page = server.http.get("/metrics").text
    assert page.count("# TYPE sabia_requests_total counter") == 1


def test_metadata_is_the_class_s_own(server: Served) -> None:
    document = server.http.get("/v2/models/sums").json()
    assert document["versions"] == ["1.2"]
    assert document["inputs"] == [{"name": "x", "datatype": "FP64", "shape": [-1, 2]}]


def test_a_class_may_name_its_version() -> None:
    with served(Versioned("versioned")) as running:
        assert running.predict("versioned", [1]).headers["x-model-version"] == "3.4"


def test_a_deadline_of_the_client_ends_the_request_and_not_the_process(server: Served) -> None:
    pid = server.predict("troubles", "pid").json()
    assert server.predict("troubles", "wait", 0.2, headers={"x-request-timeout-ms": "50"}).status_code == 408
    assert server.predict("troubles", "pid").json() == pid
    labels = {"model": "troubles", "version": "1.2", "route": "split"}
    assert server.value("sabia_requests_total", **labels, status_class="deadline") == 1
