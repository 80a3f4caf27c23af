"""The inference log of real processes: nothing is lost when they leave, and what is lost when they die is counted."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import requests

from sabia.monitoring.archive import Archive
from sabia.store.objects import Store
from tests.local.test_predictor_process import BODY, PREDICT, Server, served
from tests.local.test_workers import metric
from tests.waiting import eventually

MODEL = "breast-cancer"


def ask(server: Server, calls: int) -> list[str]:
    """Make requests, each on a connection of its own so that every worker gets some; returns their ids."""
    found = []
    for _ in range(calls):
        answer = requests.post(f"{server.url}{PREDICT}", data=BODY, timeout=30)
        assert answer.status_code == 200
        found.append(answer.headers["x-request-id"])
    return found


def logged(folder: Path) -> list[tuple[Any, ...]]:
    """Request ids and servers of everything in the log."""
    today = datetime.now(UTC).date()
    with Archive(Store.open(folder.as_uri()), MODEL, today - timedelta(days=1), today) as archive:
        return archive.rows("SELECT request_id, server FROM log")


def settings(folder: Path) -> list[str]:
    """A log that is written when the server leaves, and not before."""
    (folder / "store").mkdir()
    return [
        *("--log", (folder / "store").as_uri(), "--log_spool", str(folder / "spool"), "--log_seconds", "3600"),
        *("--log_server", "pod-7", "--drain_seconds", "0.1"),
    ]


def test_a_server_that_is_asked_to_leave_writes_what_it_has(folder: Path, tmp_path_factory: Any) -> None:
    place = tmp_path_factory.mktemp("log")
    with served(folder, *settings(place)) as server:
        ids = ask(server, 30)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0
    assert sorted(logged(place / "store")) == sorted((name, "pod-7") for name in ids)


def test_every_worker_writes_its_own(folder: Path, tmp_path_factory: Any) -> None:
    place = tmp_path_factory.mktemp("log")
    with served(folder, "--workers", "2", *settings(place)) as server:
        ids = ask(server, 60)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0
    assert sorted(name for name, _ in logged(place / "store")) == sorted(ids)
    files = list((place / "store" / "inference-log").rglob("*.parquet"))
    assert len(files) == 2


def test_what_a_worker_that_is_killed_had_in_memory_is_counted_as_lost(folder: Path, tmp_path_factory: Any) -> None:
    place = tmp_path_factory.mktemp("log")
    with served(folder, "--workers", "2", *settings(place)) as server:
        ids = ask(server, 60)
        eventually(lambda: metric(server, "sabia_log_waiting") == 60)
        victim = psutil.Process(server.process.pid).children()[0]
        victim.kill()
        eventually(lambda: metric(server, "sabia_log_dropped_total", reason="died") > 0)
        lost = metric(server, "sabia_log_dropped_total", reason="died")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0
    found = {name for name, _ in logged(place / "store")}
    assert found <= set(ids)
    assert len(ids) - len(found) == lost


def test_an_unavailable_store_delays_no_response_and_the_next_server_sends_the_spool(
    folder: Path, tmp_path_factory: Any
) -> None:
    place = tmp_path_factory.mktemp("log")
    arguments = settings(place)
    away = (place / "store").rename(place / "elsewhere")
    blocked = place / "store"
    blocked.write_text("a file where the store's folder should be")
    with served(folder, *arguments) as server:
        ids = ask(server, 20)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0
    assert len(list((place / "spool").rglob("*.parquet"))) == 1
    blocked.unlink()
    away.rename(place / "store")
    with served(folder, *arguments) as server:
        eventually(lambda: not list((place / "spool").rglob("*.parquet")))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=60) == 0
    assert sorted(name for name, _ in logged(place / "store")) == sorted(ids)
