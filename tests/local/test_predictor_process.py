"""One predictor as a process: how it leaves, and how it behaves at the socket."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from sabia.local.process import answers
from tests.waiting import eventually

BODY = json.dumps({"instances": [[1.0] * 30]}).encode()
PREDICT = "/v1/models/breast-cancer:predict"


class Server:
    """A running predictor, and the port that it said it listens on."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.port = int(self.wait_for(r"http://127\.0\.0\.1:(\d+)")[1])

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read its log until a line matches."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            found = re.search(pattern, line)
            if found:
                return found
        pytest.fail(f"it ended without saying {pattern!r}: {self.said}")

    def connect(self) -> socket.socket:
        """A connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[Server]:
    """A predictor for the version in `folder`."""
    command = [sys.executable, "-m", "predictor", "--source", str(folder), "--host", "127.0.0.1", "--http_port", "0"]
    with subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.kill()


def request(body: bytes = BODY, path: str = PREDICT, extra: str = "") -> bytes:
    """A whole HTTP request."""
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + f"\r\n{extra}\r\n").encode() + body


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """The status and the body of one response."""
    with connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        headers = dict(line.split(b": ", 1) for line in iter(lambda: stream.readline().rstrip(b"\r\n"), b""))
        lengths = [value for name, value in headers.items() if name.lower() == b"content-length"]
        return status, stream.read(int(lengths[0]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_answered_before_the_process_ends(folder: Path, number: signal.Signals) -> None:
    with served(folder, "--drain_seconds", "0.1") as server, server.connect() as connection:
        whole = request()
        connection.sendall(whole[:-10])
        assert requests.get(server.url, timeout=5).ok, "it has seen the first half by now, or will"
        server.process.send_signal(number)
        server.wait_for("draining")
        server.wait_for("closing: 1 connections")
        connection.sendall(whole[-10:])
        status, body = answer(connection)
        assert (status, list(json.loads(body))) == (200, ["predictions"])
        assert server.process.wait(30) == 0


def test_after_sigterm_readiness_is_off_while_requests_are_still_answered(folder: Path) -> None:
    with served(folder, "--drain_seconds", "5") as server:
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining")
        ready = requests.get(f"{server.url}/v1/models/breast-cancer", timeout=5)
        predicted = requests.post(f"{server.url}{PREDICT}", data=BODY, timeout=5)
        assert (ready.status_code, predicted.status_code) == (503, 200)
        assert predicted.headers["connection"] == "close"
        assert server.process.wait(30) == 0


def test_a_client_that_never_finishes_does_not_keep_the_process(folder: Path) -> None:
    with served(folder, "--drain_seconds", "0", "--grace_seconds", "1") as server, server.connect() as connection:
        connection.sendall(request()[:-10])
        assert requests.get(server.url, timeout=5).ok
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0


def test_a_client_that_sends_too_much_gets_a_413(folder: Path) -> None:
    with served(folder, "--max_body_bytes", "100000") as server:
        response = requests.post(f"{server.url}{PREDICT}", data=b" " * 5_000_000, timeout=10)
        assert response.status_code == 413
        assert "100000 bytes" in response.json()["error"]


def test_a_client_that_asks_before_it_sends_too_much_need_not_send(folder: Path) -> None:
    with served(folder) as server, server.connect() as connection:
        head = request(b"", extra="Expect: 100-continue\r\n").replace(b"Content-Length: 0", b"Content-Length: 99999999")
        connection.sendall(head)
        assert answer(connection)[0] == 413


def test_keep_alive_serves_many_requests_on_one_connection(folder: Path) -> None:
    with served(folder) as server, server.connect() as connection:
        for _ in range(20):
            connection.sendall(request())
            assert answer(connection)[0] == 200


def test_a_port_that_is_taken_is_one_line_and_status_1(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [
            sys.executable,
            "-m",
            "predictor",
            "--source",
            str(folder),
            "--host",
            "127.0.0.1",
            "--http_port",
            port,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Not serving: cannot listen on 127.0.0.1:{port}")
    assert len(done.stderr.splitlines()) == 1


def test_the_same_model_is_served_by_kserves_own_server(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "predictor.model", "--source", str(folder), "--http_port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process, served(folder) as ours:
        try:
            theirs = f"http://127.0.0.1:{port}"
            eventually(lambda: answers(f"{theirs}/v1/models/breast-cancer"))
            found = [requests.post(f"{url}{PREDICT}", data=BODY, timeout=10).json() for url in (theirs, ours.url)]
            assert found[0] == found[1]
        finally:
            process.terminate()


def test_a_log_that_cannot_be_written_stops_nothing(folder: Path) -> None:
    """The disk that it goes to is full: `/dev/full` refuses every byte."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "predictor", "--source", str(folder), "--host", "127.0.0.1"]
    command += ["--http_port", str(port), "--drain_seconds", "0"]
    with Path("/dev/full").open("w") as full, subprocess.Popen(command, stdout=full, stderr=full) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: answers(f"{url}/v1/models/breast-cancer"))
            assert requests.post(f"{url}{PREDICT}", data=BODY, timeout=5).status_code == 200
            process.terminate()
            assert process.wait(30) in (0, 120), "120 is Python's own, for a stream that it cannot flush"
        finally:
            process.kill()
