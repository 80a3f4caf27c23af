"""Attacks on a real server over real sockets: its well-behaved client sees no failure, and its memory has a bound.

`python -m benchmarks.serving.survival` runs the same attacks for longer and prints what was seen.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from benchmarks.serving.attacks import ATTACKS
from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.estimators import Estimator
from benchmarks.serving.servers import started
from benchmarks.serving.survival import SERVED, survive
from tests.local.test_predictor_process import PREDICT, request, served

MEBIBYTE = 1024 * 1024
# Bodies that wait (64 MiB), and two requests that are parsed at once: a JSON body of 4 MiB is at most sixteen times as
# large as Python's numbers, which are then packed once more.
BOUND = (64 + 2 * 4 * (16 + 4) + 32) * MEBIBYTE


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "nothing"])
def test_an_attack_costs_its_client_and_the_machine_little(folder: Path, tmp_path: Path, name: str) -> None:
    model = Estimator("linear", folder / "unused", folder)
    with started(SERVED, model, tmp_path) as server:
        found = survive(name, server, tmp_path, seconds=2)
    assert found.client.failed == 0
    assert found.client.answered == found.client.due > 100
    assert found.memory_most - found.memory_before < BOUND
    if name in EXPECTED:
        assert set(found.said) <= EXPECTED[name] | {"opened", "closed"}, found.said


EXPECTED = {
    "large-bodies": {"413"},
    "large-heads": {"431"},
    "deep": {"400"},
    "gzip": {"415"},
    "no-http": {"400"},
    "tiny-chunks": {"400", "431"},
    "churn": {"200"},
    "full-bodies": {"200", "503"},
}


def test_bounds_that_are_exceeded_a_thousand_times_leave_nothing_behind(folder: Path) -> None:
    import psutil

    with served(folder, "--max_body_bytes", "100000") as server:
        process = psutil.Process(server.process.pid)
        too_large = [request(b" " * 200_000), request(extra="X: " + "x" * 40_000 + "\r\n")]

        def exceed(times: int) -> None:
            for at in range(times):
                with server.connect() as connection:
                    connection.sendall(too_large[at % 2])
                    assert connection.recv(100).startswith((b"HTTP/1.1 413", b"HTTP/1.1 431"))

        exceed(100)
        before = process.memory_info().rss
        exceed(1000)
        assert process.memory_info().rss - before < 8 * MEBIBYTE
        assert requests.post(f"{server.url}{PREDICT}", data=b"{}", timeout=5).status_code == 400


def test_every_contender_of_the_benchmark_has_a_name_and_a_way_to_be_asked() -> None:
    for contender in CONTENDERS.values():
        assert contender.title
        assert contender.call(2).body
