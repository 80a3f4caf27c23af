"""What waits for what: a slow model holds up nothing but its own requests, and those have a deadline."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from sabia.registry.verification import Artifact
from sabia.serving.errors import DeadlineExceeded, Overloaded
from sabia.serving.inference.pool import Pool
from sabia.serving.settings import Settings
from tests.unit.serving.clients import INFER, MODEL, Client, Wire
from tests.unit.serving.test_connections import post
from tests.unit.serving.test_v1 import error, instances
from tests.unit.serving.test_v2 import ONES, request, tensor

Connect = Callable[[], Awaitable[Wire]]
BODY = instances("1")


def slow(artifact: Artifact, delay: str = "300ms", **changed: Any) -> Client:
    """A version whose every prediction takes this long."""
    return Client(artifact, replace(Settings(), faults=f"delay={delay}", **changed))


async def ask(connect: Connect, sent: bytes) -> httpx.Response:
    """One request on a connection of its own."""
    wire = await connect()
    wire.writer.write(sent)
    return await wire.response()


@pytest.mark.parametrize("path", ["/v1/models/breast-cancer", "/v2/health/live", "/metrics"])
def test_health_and_metrics_are_answered_while_a_model_takes_its_time(logistic: Artifact, path: str) -> None:
    async def call(connect: Connect) -> bool:
        predicting = asyncio.ensure_future(ask(connect, post(BODY)))
        await asyncio.sleep(0.05)
        asked = await ask(connect, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        early = not predicting.done()
        assert asked.status_code == (await predicting).status_code == 200
        return early

    assert slow(logistic).served(call)


@pytest.mark.parametrize(("threads", "queue"), [(1, 0), (2, 1), (1, 3)])
def test_more_requests_than_may_wait_get_a_503(logistic: Artifact, threads: int, queue: int) -> None:
    client = slow(logistic, threads=threads, queue=queue)

    async def call(connect: Connect) -> list[httpx.Response]:
        return await asyncio.gather(*(ask(connect, post(BODY)) for _ in range(8)))

    found = client.served(call)
    assert Counter(response.status_code for response in found) == {200: threads + queue, 503: 8 - threads - queue}
    refused = [response for response in found if response.status_code == 503]
    assert {response.headers["retry-after"] for response in refused} == {"1"}
    assert "Too many calls are waiting" in error(refused[0])
    assert client.value("sabia_requests_total", status_class="5xx") == len(refused)


@pytest.mark.parametrize(("name", "status"), [("x-request-timeout-ms", 408), ("x-envoy-expected-rq-timeout-ms", 504)])
def test_a_request_past_its_deadline_is_answered_in_time(logistic: Artifact, name: str, status: int) -> None:
    client = slow(logistic, delay="1s", behind_gateway=True)
    (found, seconds) = client.connected(lambda wire: timed(wire, post(BODY, f"{name}: 50")))
    assert found.status_code == status
    assert error(found)
    assert seconds < 0.9


async def timed(wire: Wire, sent: bytes) -> tuple[httpx.Response, float]:
    """One request, and its duration."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    wire.writer.write(sent)
    return await wire.response(), loop.time() - started


def test_the_setting_is_the_longest_that_a_client_may_ask_for(logistic: Artifact) -> None:
    client = slow(logistic, delay="1s", request_timeout_seconds=0.05)
    assert client.predict(BODY, {"x-request-timeout-ms": "5000"}).status_code == 504


@pytest.mark.parametrize("value", ["0", "soon", "-1", "1e3", "9" * 12])
def test_a_deadline_that_is_none_is_not_one(logistic: Artifact, value: str) -> None:
    assert slow(logistic, delay="1ms").predict(BODY, {"x-request-timeout-ms": value}).status_code == 200


def test_work_past_its_deadline_is_not_begun() -> None:
    begun: list[str] = []

    async def call() -> list[str | BaseException]:
        pool: Pool[str | BaseException] = Pool(threads=1, queue=5)
        loop = asyncio.get_running_loop()
        hold, held = asyncio.Event(), asyncio.Event()

        def wait() -> str:
            begun.append("first")
            loop.call_soon_threadsafe(held.set)
            asyncio.run_coroutine_threadsafe(hold.wait(), loop).result()
            return "first"

        def late() -> str:
            begun.append("late")
            return "late"

        far = asyncio.get_running_loop().time() + 60
        first = pool.submit(wait, far, lambda outcome: outcome)
        await held.wait()
        found = await pool.submit(late, 0.0, lambda outcome: outcome)
        hold.set()
        return [await first, found]

    first, late = asyncio.run(call())
    assert first == "first"
    assert isinstance(late, DeadlineExceeded)
    assert begun == ["first"]


def test_a_pool_that_is_full_refuses_at_once_and_takes_again_when_it_is_not() -> None:
    async def call() -> str:
        pool: Pool[str] = Pool(threads=1, queue=0)
        far = asyncio.get_running_loop().time() + 60
        first = pool.submit(lambda: "first", far, str)
        with pytest.raises(Overloaded):
            pool.submit(lambda: "second", far, str)
        await first
        return await pool.submit(lambda: "third", far, str)

    assert asyncio.run(call()) == "third"


def test_a_model_that_becomes_slow_is_moved_off_the_loop_and_comes_back(client: Client) -> None:
    model = client.model
    assert model.expected_seconds(1) < 0.001
    model.record_duration(1, 0.5)
    assert model.expected_seconds(1) > 0.4
    assert client.predict(BODY).status_code == 200
    for _ in range(200):
        model.record_duration(1, 0.00001)
    assert model.expected_seconds(1) < 0.001


def test_the_platforms_paths_are_the_same_endpoints(logistic: Artifact) -> None:
    client = Client(logistic, replace(Settings(), predict_route="/vertex/predict", health_route="/vertex/health"))
    expected = client.predict(BODY).json()
    for path in ("/invocations", "/vertex/predict"):
        assert client("POST", path, BODY).json() == expected
        assert client("POST", path, b"{}").status_code == 400
        assert client("GET", path).status_code == 405
    for path in ("/ping", "/vertex/health"):
        assert client("GET", path).status_code == 200
    assert client.value("sabia_requests_total", status_class="2xx") == 3
    client.app.readiness.draining = True
    assert client("GET", "/ping").status_code == client("GET", "/vertex/health").status_code == 503


def test_one_plain_row_gets_the_response_of_the_general_parser(client: Client) -> None:
    """The plain parser takes what nearly every client sends; with one key more the general parser takes over."""
    short = client.predict(BODY).content
    assert client.predict(BODY.replace(b'{"instances"', b'{"x": 1, "instances"')).content == short
    call = tensor(ONES)
    assert client.infer(request(call, id="1")).json() == client.infer(request(call, id="1", parameters={})).json()
    assert client("POST", INFER, request(call)).json()["model_name"] == MODEL
