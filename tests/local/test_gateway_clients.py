"""What a client can say to the gateway: nothing that only the gateway says, and every form of a path that is one."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sabia.kubernetes.manifests import ROOT, predictor, render, route
from sabia.local.envoy import Envoy, Gateway

PREDICT = "/v1/models/breast-cancer:predict"
INTERNAL = [
    "x-envoy-upstream-rq-timeout-ms: 1",
    "x-envoy-upstream-rq-per-try-timeout-ms: 1",
    "x-envoy-upstream-stream-duration-ms: 1",
    "x-envoy-expected-rq-timeout-ms: 1",
    "X-Envoy-Expected-Rq-Timeout-Ms: 1",
    "x-envoy-retry-on: retriable-4xx,5xx",
    "x-envoy-max-retries: 9",
    "x-envoy-upstream-alt-stat-name: other",
    "x-envoy-internal: true",
    "x-envoy-decorator-operation: other",
]


class Echo(BaseHTTPRequestHandler):
    """A predictor that says which request reached it."""

    protocol_version = "HTTP/1.1"

    def _echo(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"port": self.server.server_port, "path": self.path, "headers": headers}).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _echo  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, dict[int, str]]]:
    """Envoy with the routes of the manifests, and the version behind each port."""
    folder = tmp_path_factory.mktemp("envoy")
    specs = [predictor(render(ROOT / "versions" / f"breast-cancer-v{v}"), where=v) for v in ("1-2", "2-0")]
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Echo) for _ in specs]
    threads = [threading.Thread(target=server.serve_forever, daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    backends = {spec.service: (spec, [server.server_port]) for spec, server in zip(specs, servers, strict=True)}
    routes = [route(render(ROOT / "traffic"), where="traffic")]
    (folder / "logs").mkdir()
    envoy = Envoy(folder / "files", folder / "logs", backends=backends, routes=routes)
    try:
        envoy.wait_until_ready()
        yield envoy.gateway, {server.server_port: spec.version for spec, server in zip(specs, servers, strict=True)}
    finally:
        envoy.process.stop(seconds=5)
        for server in servers:
            server.shutdown()
            server.server_close()


def ask(gateway: Gateway, *lines: str, path: str = PREDICT, version: str = "HTTP/1.1") -> tuple[int, dict[str, Any]]:
    """The status and the document of a request with these headers."""
    given = [line.lower() for line in lines]
    head = [f"POST {path} {version}", *lines]
    if version == "HTTP/1.1":
        head += [] if any(line.startswith("host:") for line in given) else ["host: x"]
        head += ["connection: close"]
    with closing(socket.create_connection(("127.0.0.1", gateway.port), timeout=10)) as connection:
        connection.sendall(("\r\n".join([*head, "content-length: 2"]) + "\r\n\r\n{}").encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    status, body = int(answer.split(b" ", 2)[1]), answer.partition(b"\r\n\r\n")[2]
    return status, json.loads(body[body.index(b"{") : body.rindex(b"}") + 1]) if b"{" in body else {}


@pytest.mark.parametrize("forwarded", [[], ["x-forwarded-for: 10.0.0.1"], ["x-forwarded-for: 127.0.0.1"]])
@pytest.mark.parametrize("line", INTERNAL)
def test_envoys_own_headers_of_a_client_go_no_further(
    gateway: tuple[Gateway, dict[int, str]], line: str, forwarded: list[str]
) -> None:
    status, found = ask(gateway[0], line, *forwarded)
    assert status == 200
    name, _, value = line.lower().partition(": ")
    assert found["headers"].get(name) != value
    assert found["headers"]["x-envoy-expected-rq-timeout-ms"] == "60000"


@pytest.mark.parametrize("host", ["a-shadow", "a-shadow:80", "a:80-shadow", "[::1]-shadow", "[::1]:80-shadow"])
def test_a_host_that_marks_a_mirrored_request_is_refused(gateway: tuple[Gateway, dict[int, str]], host: str) -> None:
    before = gateway[0].request_counts()
    status, found = ask(gateway[0], f"host: {host}")
    assert status == 400
    assert "mirrored" in found.get("error", "mirrored")
    assert gateway[0].request_counts() == before


def test_a_host_that_only_contains_the_mark_is_answered(gateway: tuple[Gateway, dict[int, str]]) -> None:
    assert ask(gateway[0], "host: my-shadow-model.example.com")[0] == 200


@pytest.mark.parametrize("version", ["1.2", "2.0"])
def test_a_v2_path_that_names_a_version_reaches_it_and_counts_nowhere(
    gateway: tuple[Gateway, dict[int, str]], version: str
) -> None:
    envoy, versions = gateway
    before = envoy.outcomes()
    for _ in range(8):
        status, found = ask(envoy, path=f"/v2/models/breast-cancer/versions/{version}/infer")
        assert (status, versions[found["port"]]) == (200, version)
    assert envoy.outcomes() == before


@pytest.mark.parametrize("path", ["/v1/models/breast-cancer%3Apredict", "/v1/models/breast-cancer%3apredict?x=1"])
def test_an_escaped_colon_is_the_same_path(gateway: tuple[Gateway, dict[int, str]], path: str) -> None:
    envoy, versions = gateway
    assert ask(envoy, path=path)[0] == 200
    found = {versions[ask(envoy, "x-model-version: 2.0", path=path)[1]["port"]] for _ in range(4)}
    assert found == {"2.0"}


@pytest.mark.parametrize("lines", [[], ["host: x"]])
def test_http_1_0_is_answered(gateway: tuple[Gateway, dict[int, str]], lines: list[str]) -> None:
    assert ask(gateway[0], *lines, version="HTTP/1.0")[0] == 200


def test_an_absolute_target_is_the_same_request(gateway: tuple[Gateway, dict[int, str]]) -> None:
    assert ask(gateway[0], path=f"http://x{PREDICT}")[0] == 200
    assert ask(gateway[0], path=f"http://a-shadow{PREDICT}")[0] == 400
