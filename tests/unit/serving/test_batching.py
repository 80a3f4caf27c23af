"""Rows that arrive together are predicted together, with the responses that each would get alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from sabia.registry.verification import Artifact
from sabia.serving.inference.batching import Batcher
from sabia.serving.settings import Settings
from tests.unit.serving.clients import Client, Wire
from tests.unit.serving.test_connections import post
from tests.unit.serving.test_v1 import error

Connect = Callable[[], Awaitable[Wire]]


async def together(connect: Connect, bodies: list[bytes], times: int = 1) -> list[httpx.Response]:
    """The responses to requests that arrive in one turn of the loop."""
    wires = [await connect() for _ in bodies]
    for _ in range(times):
        for wire, body in zip(wires, bodies, strict=True):
            wire.writer.write(post(body))
        responses = [await wire.response() for wire in wires]
    return responses


def row(values: NDArray[np.float64]) -> bytes:
    return json.dumps({"instances": [values.tolist()]}).encode()


@pytest.mark.parametrize("limit", [1, 2, 5, 64])
def test_each_request_gets_its_own_response(forest: Artifact, rows: NDArray[np.float64], limit: int) -> None:
    client = Client(forest, replace(Settings(), batch_rows=limit))
    bodies = [row(values) for values in rows[:20]]
    expected = [client.predict(body).json() for body in bodies]
    found = client.served(lambda connect: together(connect, bodies, times=3))
    assert [response.json() for response in found] == expected
    assert client.value("sabia_requests_total", status_class="2xx") == 80
    assert client.value("sabia_decision_duration_seconds_count") == 80


def test_a_row_that_fails_does_not_take_its_neighbours_with_it(forest: Artifact, rows: NDArray[np.float64]) -> None:
    client = Client(forest)
    bodies = [row(values) for values in rows[:8]]
    bodies[3] = row(np.full(30, 1e200))
    found = client.served(lambda connect: together(connect, bodies, times=3))
    assert [response.status_code for response in found] == [200, 200, 200, 400, 200, 200, 200, 200]
    assert "is larger than" in error(found[3])


def run(batcher: Batcher[int, int], turns: list[list[int]]) -> list[list[int]]:
    """Items added in one turn of the loop after another."""

    async def call() -> list[list[int]]:
        return [list(await asyncio.gather(*(batcher.add(item) for item in turn))) for turn in turns]

    return asyncio.run(call())


def test_items_of_one_turn_run_at_once_up_to_the_limit() -> None:
    seen: list[list[int]] = []

    def decide(items: list[int]) -> list[int]:
        seen.append(items)
        return [-item for item in items]

    assert run(Batcher(decide, limit=3), [[1, 2], [3, 4, 5, 6], [7]]) == [[-1, -2], [-3, -4, -5, -6], [-7]]
    assert seen == [[1, 2], [3, 4, 5], [6], [7]]


def test_gathering_begins_when_requests_come_back_to_back_and_ends_when_one_comes_alone() -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: items, limit=8)
    batcher.note_end(100.0)
    assert not batcher.should_gather(100.001)
    assert batcher.should_gather(100.00001)
    run(batcher, [[1, 2]])
    assert batcher.should_gather(200.0)
    run(batcher, [[1]])
    assert not batcher.should_gather(200.0)


def test_switched_off_nothing_is_gathered() -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: items, limit=1)
    batcher.note_end(100.0)
    assert not batcher.should_gather(100.0)
