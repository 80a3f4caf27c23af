"""The client, against a server of canned responses."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import polars as pl
import pytest

import sabia
from sabia.client import Rows


class Server(ThreadingHTTPServer):
    """Records requests, and returns `status`, `body` and `headers` to each POST."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body = 200, b'{"predictions": [0.25]}'
        self.headers = {"x-model-version": "1.2", "x-request-id": "abc"}
        self.models = ["toy"]
        self.requests: list[tuple[str, dict[str, str], object]] = []

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._respond(200, json.dumps({"models": self.server.models}).encode(), {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, headers, json.loads(body)))
        self._respond(self.server.status, self.server.body, self.server.headers)

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def _respond(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of one model."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("rows", "instances"),
    [
        (np.array([[1.0, 2.0]]), [[1.0, 2.0]]),
        ([[1, 2]], [[1.0, 2.0]]),
        ([np.array([1.0, 2.0])], [[1.0, 2.0]]),
        ([{"x": 1.0, "y": 2.0}], [{"x": 1.0, "y": 2.0}]),
    ],
)
def test_rows_are_sent_as_v1_instances(server: Server, rows: Rows, instances: object) -> None:
    with sabia.Client(server.url) as client:
        predictions = client.predict(rows)
    assert predictions.dtype == np.float64
    assert (predictions.tolist(), client.version) == ([0.25], "1.2")
    (path, headers, body) = server.requests[0]
    assert (path, body) == ("/v1/models/toy:predict", {"instances": instances})
    assert "x-model-version" not in headers


def test_a_version_is_pinned_and_headers_are_sent(server: Server) -> None:
    headers = {"host": "toy.example.com"}
    with sabia.Client(server.url + "/", "other", version=sabia.Version(1, 2), headers=headers) as client:
        client.predict([[1.0]])
    (path, sent, _) = server.requests[0]
    assert path == "/v1/models/other:predict"
    assert (sent["x-model-version"], sent["host"]) == ("1.2", "toy.example.com")


def test_an_error_response_is_an_error_with_the_servers_sentence(server: Server) -> None:
    server.status, server.body = 400, b'{"error": "instances[0] has 1 values; the model takes 2."}'
    with sabia.Client(server.url) as client, pytest.raises(sabia.RequestFailed) as caught:
        client.predict([[1.0]])
    assert isinstance(caught.value, sabia.SabiaError)
    assert str(caught.value) == "instances[0] has 1 values; the model takes 2."
    assert (caught.value.status, caught.value.request_id) == (400, "abc")


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (503, b"<html>upstream connect error</html>", "The server returned status 503."),
        (200, b'{"predictions": "high"}', "The response is not of the V1 protocol."),
        (200, b"\xff", "The response is not of the V1 protocol."),
    ],
)
def test_a_response_of_another_form_is_an_error(server: Server, status: int, body: bytes, sentence: str) -> None:
    server.status, server.body = status, body
    with sabia.Client(server.url) as client, pytest.raises(sabia.RequestFailed) as caught:
        client.predict([[1.0]])
    assert (caught.value.status, str(caught.value)) == (status, sentence)


def test_a_model_is_named_where_a_server_has_several(server: Server) -> None:
    server.models = ["one", "other"]
    with sabia.Client(server.url) as client, pytest.raises(sabia.RequestFailed, match="has 2 models; name one"):
        client.predict([[1.0]])


def test_a_server_that_does_not_respond_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # connects, and never responds
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with sabia.Client(url, "toy", timeout=0.05) as client, pytest.raises(sabia.ServerUnavailable) as caught:
            client.predict([[1.0]])
    assert caught.value.exit_code == 5
    with sabia.Client(url, "toy", timeout=1) as client, pytest.raises(sabia.ServerUnavailable, match="did not respond"):
        client.predict([[1.0]])


@pytest.mark.parametrize(
    "rows",
    [
        [{"carrier": "UA", "temp": None, "hour": np.int64(7)}],
        [{"carrier": "UA", "temp": float("nan"), "hour": 7}],
        pd.DataFrame({"carrier": ["UA"], "temp": [np.nan], "hour": [7]}),
        pl.DataFrame({"carrier": ["UA"], "temp": [None], "hour": [7]}),
    ],
    ids=["mappings", "NaN", "pandas", "polars"],
)
def test_rows_of_any_form_are_sent_as_objects_with_null(server: Server, rows: Rows) -> None:
    sabia.Client(server.url, "toy").predict(rows)
    ((_, _, body),) = server.requests
    assert body == {"instances": [{"carrier": "UA", "temp": None, "hour": 7}]}


def test_tensors_are_sent_as_nested_lists(server: Server) -> None:
    sabia.Client(server.url, "toy").predict(np.zeros((1, 2, 2), dtype=np.float32))
    assert server.requests[0][2] == {"instances": [[[0.0, 0.0], [0.0, 0.0]]]}


@pytest.mark.parametrize("answer", [{"label": "Adelie", "probabilities": {"Adelie": 1.0}}, [0.5, 0.5], "Adelie"])
def test_what_is_not_a_number_is_returned_as_the_server_wrote_it(server: Server, answer: object) -> None:
    server.body = json.dumps({"predictions": [answer]}).encode()
    assert sabia.Client(server.url, "toy").predict([{"x": 1.0}]) == [answer]


def test_a_row_that_json_cannot_hold_is_refused(server: Server) -> None:
    with pytest.raises(TypeError, match="object"):
        sabia.Client(server.url, "toy").predict([[object()]])
