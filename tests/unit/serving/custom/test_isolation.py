"""A model costs its own requests: never another's, nor the probes'."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic
from typing import Any

import httpx
import pytest

from sabia.serving.errors import LoadFailed
from sabia.serving.settings import Settings
from tests.unit.serving.custom.clients import Served, served
from tests.unit.serving.custom.models import Awaits, Broken, Troubles, Unready
from tests.waiting import eventually

FAILED = {"error": "The model failed on this request; the server's log says why."}


def _beside(server: Served, *instances: Any) -> Future[httpx.Response]:
    """A request in a thread of its own, on a connection of its own."""
    return ThreadPoolExecutor(1).submit(server.predict, "troubles", *instances)


def _restarts(server: Served, reason: str) -> float:
    return server.value("sabia_worker_restarts_total", model="troubles", version="0.0", reason=reason)


@pytest.mark.parametrize("word", ["spin", "hold"])
def test_a_model_that_hangs_costs_its_request_alone(word: str) -> None:
    with served(Troubles(), settings=Settings(stuck_seconds=1.0)) as server:
        pid = server.predict("troubles", "pid").json()["predictions"][0]
        hanging = _beside(server, word)
        eventually(lambda: server.app.waiting == 1)
        beside = [_beside(server, "answer", 5.0) for _ in range(3)]
        before = monotonic()
        assert server.http.get("/v1/models/troubles").status_code == 200, "the probe is answered meanwhile"
        assert server.http.get("/v2/health/live").status_code == 200
        assert server.http.get("/metrics").status_code == 200
        assert monotonic() - before < 0.5
        assert (hanging.result().status_code, hanging.result().json()) == (500, FAILED)
        assert [each.result().json() for each in beside] == [{"predictions": [5.0]}] * 3
        assert server.predict("troubles", "pid").json()["predictions"][0] != pid
        assert _restarts(server, "stuck") == 1


def test_a_model_that_crashes_costs_its_request_alone() -> None:
    with served(Troubles()) as server:
        waiting = [_beside(server, "wait", 0.3)]
        eventually(lambda: server.app.waiting == 1)
        waiting += [_beside(server, "crash"), _beside(server, "answer", 2.0), _beside(server, "answer", 3.0)]
        statuses = [each.result().status_code for each in waiting]
        assert statuses == [200, 500, 200, 200]
        assert _restarts(server, "died") == 1


def test_a_process_that_grows_past_its_bound_is_replaced_without_an_error() -> None:
    settings = Settings(model_memory_bytes=400 * 1024 * 1024)
    with served(Troubles(), settings=settings) as server:
        pid = server.predict("troubles", "pid").json()
        answers = [server.predict("troubles", "leak").status_code for _ in range(8)]
        eventually(lambda: server.predict("troubles", "pid").json() != pid)
        assert answers == [200] * 8
        eventually(lambda: _restarts(server, "leaked") == 1)


def test_awaiting_requests_run_at_once_and_one_that_never_ends_meets_its_deadline() -> None:
    with served(Awaits("awaits"), settings=Settings(request_timeout_seconds=1.0)) as server:
        with ThreadPoolExecutor(12) as executor:
            before = monotonic()
            never = executor.submit(server.predict, "awaits", -1)
            answers = list(executor.map(lambda _: server.predict("awaits", 0.2), range(10)))
            assert monotonic() - before < 1.5, "ten of them did not wait for each other"
            assert {each.status_code for each in answers} == {200}
            assert never.result().status_code == 504
        eventually(lambda: server.app.waiting == 0)


@pytest.mark.parametrize("raised", [-2, -3], ids=["cancelled", "interrupted"])
def test_an_awaiting_model_that_raises_what_ends_a_loop_costs_its_request_alone(raised: int) -> None:
    with served(Awaits("awaits")) as server:
        response = server.predict("awaits", raised)
        assert (response.status_code, response.json()) == (500, FAILED)
        assert server.predict("awaits", 0).status_code == 200
        assert server.value("sabia_worker_restarts_total", model="awaits", version="0.0", reason="died") == 0


def test_a_response_does_not_wait_for_the_request_behind_it() -> None:
    with served(Troubles()) as server:
        server.predict("troubles", "answer")
        before, ended = monotonic(), []
        first, second = (_beside(server, "wait", 0.4) for _ in range(2))
        for each in (first, second):
            each.add_done_callback(lambda _: ended.append(monotonic() - before))
        assert (first.result().status_code, second.result().status_code) == (200, 200)
        eventually(lambda: len(ended) == 2)
        assert ended[1] - ended[0] > 0.2


def test_several_processes_share_the_requests() -> None:
    with served(Troubles(), settings=Settings(workers=2)) as server:
        with ThreadPoolExecutor(8) as executor:
            answers = list(
                executor.map(lambda _: server.predict("troubles", "pid").json()["predictions"][0], range(200))
            )
        assert len(set(answers)) == 2


def test_too_many_waiting_requests_are_refused() -> None:
    with served(Troubles(), settings=Settings(queue=1)) as server:
        waiting = [_beside(server, "wait", 0.5) for _ in range(6)]
        statuses = sorted(each.result().status_code for each in waiting)
        assert statuses == [200, 200, 200, 503, 503, 503]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            Broken("broken"),
            "Broken cannot be loaded: FileNotFoundError ([Errno 2] No such file or directory: 'weights.bin') at models",
        ),
        (Unready("unready"), "Unready.load() did not make the model ready."),
    ],
)
def test_a_model_that_cannot_load_is_one_sentence(model: Any, sentence: str) -> None:
    with pytest.raises(LoadFailed) as raised, served(model):
        pass
    assert str(raised.value).startswith(f"Not serving: {sentence}")
    assert "\n" not in str(raised.value)
