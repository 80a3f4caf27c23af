"""Several processes on one port: they start every time, count together, and are replaced when they die or hang."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psutil
import pytest
import requests

from tests.local.test_predictor_process import BODY, PREDICT, Server, answer, request, served
from tests.waiting import eventually

WORKERS = ("--workers", "2", "--drain_seconds", "0.3")


class Load:
    """Clients that ask without pause, each on a connection of its own, and count how it went."""

    def __init__(self, server: Server, clients: int = 4) -> None:
        self.statuses: Counter[int] = Counter()
        self.broken = 0
        self._server = server
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def _ask(self) -> None:
        session = requests.Session()
        while not self._stop.is_set():
            try:
                self.statuses[session.post(f"{self._server.url}{PREDICT}", data=BODY, timeout=10).status_code] += 1
            except requests.ConnectionError:
                self.broken += 1
                session = requests.Session()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Wait until this many more requests were answered."""
        wanted = self.statuses.total() + more
        eventually(lambda: self.statuses.total() >= wanted)


def workers(server: Server) -> list[psutil.Process]:
    """The worker processes."""
    return psutil.Process(server.process.pid).children()


def metric(server: Server, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    page = requests.get(f"{server.url}/metrics", timeout=10).text
    found = re.findall(rf"^{name}{{([^}}]*)}} (\S+)$", page, re.MULTILINE)
    return sum(
        float(value) for text, value in found if all(f'{key}="{label}"' in text for key, label in labels.items())
    )


@contextmanager
def loaded(folder: Path, *arguments: str) -> Iterator[tuple[Server, Load]]:
    """A server with two workers, under load."""
    with served(folder, *WORKERS, *arguments) as server, Load(server) as load:
        load.wait_for(50)
        yield server, load


@pytest.mark.parametrize("_", range(5))
def test_they_start_every_time(folder: Path, _: int) -> None:
    with served(folder, *WORKERS) as server:
        assert requests.post(f"{server.url}{PREDICT}", data=BODY, timeout=10).status_code == 200
        assert len(workers(server)) == 2


def test_each_takes_its_part_of_the_connections_and_every_scrape_has_the_sums(folder: Path) -> None:
    with served(folder, *WORKERS) as server:
        before = [process.num_fds() for process in workers(server)]
        connections = [server.connect() for _ in range(20)]
        for connection in connections:
            for _ in range(5):
                connection.sendall(request())
                assert answer(connection)[0] == 200
        after = [process.num_fds() for process in workers(server)]
        assert min(late - early for early, late in zip(before, after, strict=True)) >= 3
        scrapes = {metric(server, "sabia_requests_total", status_class="2xx") for _ in range(10)}
        assert scrapes == {100.0}
        assert metric(server, "sabia_workers") == 2
        for connection in connections:
            connection.close()


def test_a_worker_that_is_killed_under_load_is_replaced_and_nothing_that_was_counted_is_lost(folder: Path) -> None:
    with loaded(folder) as (server, load):
        before = metric(server, "sabia_requests_total", status_class="2xx")
        victim = workers(server)[0]
        victim.kill()
        server.wait_for("was ended by SIGKILL; another takes its place")
        eventually(lambda: len(workers(server)) == 2)
        load.wait_for(200)
        assert victim.pid not in {process.pid for process in workers(server)}
        assert metric(server, "sabia_requests_total", status_class="2xx") > before
        assert metric(server, "sabia_worker_restarts_total", reason="died") == 1
    assert set(load.statuses) == {200}
    # A client has at most one request open: what broke is what that worker was answering.
    assert load.broken <= 4


def test_a_worker_that_hangs_is_replaced(folder: Path) -> None:
    with served(folder, *WORKERS, "--stuck_seconds", "1") as server:
        victim = workers(server)[0]
        victim.suspend()
        server.wait_for("hung; another takes its place")
        eventually(lambda: len(workers(server)) == 2)
        assert requests.post(f"{server.url}{PREDICT}", data=BODY, timeout=10).status_code == 200
        assert metric(server, "sabia_worker_restarts_total", reason="stuck") == 1


def test_while_a_worker_hangs_the_other_serves_new_clients(folder: Path) -> None:
    with served(folder, *WORKERS) as server:
        victim = workers(server)[0]
        victim.suspend()
        for _ in range(20):
            assert requests.post(f"{server.url}{PREDICT}", data=BODY, timeout=10).status_code == 200
        victim.resume()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_under_load_workers_answer_what_they_have_accepted(folder: Path, number: signal.Signals) -> None:
    """A load balancer stops sending once readiness is off; these clients do the same."""
    with served(folder, *WORKERS) as server:
        with Load(server) as load:
            load.wait_for(200)
        server.process.send_signal(number)
        assert server.process.wait(30) == 0
    assert set(load.statuses) == {200}
    assert load.broken == 0


def test_a_request_in_flight_is_answered_before_its_worker_ends(folder: Path) -> None:
    with served(folder, *WORKERS) as server, server.connect() as connection:
        whole = request()
        connection.sendall(whole[:-10])
        assert requests.get(server.url, timeout=5).ok
        server.process.terminate()
        server.wait_for("closing: 1 connections")
        connection.sendall(whole[-10:])
        assert answer(connection)[0] == 200
        assert server.process.wait(30) == 0


def test_workers_do_not_outlive_their_parent(folder: Path) -> None:
    with served(folder, *WORKERS) as server:
        left = workers(server)
        server.process.kill()
        eventually(lambda: not any(process.is_running() and process.status() != "zombie" for process in left))


def test_a_version_that_cannot_be_loaded_is_one_line_and_status_1(folder: Path) -> None:
    next(folder.glob("*/model.onnx")).unlink()
    with pytest.raises(pytest.fail.Exception) as caught, served(folder, *WORKERS):
        pass
    assert "is named by the manifest and is missing" in str(caught.value)


def test_the_model_is_in_memory_once(folder: Path) -> None:
    """What a worker has for itself is small beside what it shares."""
    with served(folder, *WORKERS) as server:
        assert requests.post(f"{server.url}{PREDICT}", data=BODY, timeout=10).status_code == 200
        for process in workers(server):
            memory = process.memory_full_info()
            assert memory.uss < memory.rss / 2
        assert os.getpid() not in {process.pid for process in workers(server)}
