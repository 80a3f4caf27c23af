"""The demo's client: requests through the gateway with rows that no training has seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

import msgspec
import numpy as np
import requests

from sabia.contract import names

_CLIENTS = 4
# Requests of one connection.
_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome of one request: the index of its row, its status (0 without a response), version and duration."""

    row: int
    status: int
    version: str
    prediction: float
    seconds: float
    request_id: str


class Client:
    """Sends rows from a few threads, one connection each; no request is retried.

    Args:
        gateway: its URL.
        model: the model.
        instances: the rows as V1 takes them, each a list or an object.
        target: their labels, 0 or 1.
        order: in which `load` sends the rows, again and again.
        rate: requests a second of `load`, at most; None is as many as it can.

    Attributes:
        model, target: as given.
        replies: every reply so far.
    """

    def __init__(
        self,
        gateway: str,
        model: str,
        instances: Sequence[object],
        target: Sequence[int],
        *,
        order: Sequence[int],
        rate: float | None = None,
    ) -> None:
        self.model = model
        self.target = target
        self.replies: list[Reply] = []
        self._url = gateway + names.v1_predict(model)
        self._bodies = [msgspec.json.encode({"instances": [row]}) for row in instances]
        self._order = cycle(order)
        self._pause = _CLIENTS * _AT_ONCE / rate if rate else 0.0

    def request(self, indices: list[int], headers: dict[str, str] | None = None) -> list[Reply]:
        """Request a prediction of each of these rows."""
        shares = [indices[start::_CLIENTS] for start in range(_CLIENTS)]
        with ThreadPoolExecutor(_CLIENTS) as pool:
            parts = pool.map(lambda share: self._request(share, headers or {}), shares)
            return [reply for part in parts for reply in part]

    @contextmanager
    def load(self) -> Iterator[list[Reply]]:
        """Send one row after the other during the block; the replies are complete when it is left."""
        replies: list[Reply] = []
        stop = threading.Event()

        def send() -> None:
            due = time.monotonic()
            while not stop.wait(max(0.0, due - time.monotonic())):
                due += self._pause
                replies.extend(self._request(list(islice(self._order, _AT_ONCE)), {}))

        with ThreadPoolExecutor(_CLIENTS) as pool:
            clients = [pool.submit(send) for _ in range(_CLIENTS)]
            try:
                yield replies
            finally:
                stop.set()
                for client in clients:
                    client.result()

    def accuracy(self, replies: list[Reply]) -> float:
        """The share of successful replies whose prediction, at the threshold 0.5, is the label; 0 without any."""
        correct = [
            (reply.prediction >= 0.5) == bool(self.target[reply.row]) for reply in replies if reply.status == 200
        ]
        return float(np.mean(correct)) if correct else 0.0

    def _request(self, indices: list[int], headers: dict[str, str]) -> list[Reply]:
        with requests.Session() as session:
            session.headers.update({"content-type": "application/json", **headers})
            replies = [self._reply(session, index) for index in indices]
        self.replies.extend(replies)
        return replies

    def _reply(self, session: requests.Session, index: int) -> Reply:
        started = time.perf_counter()
        try:
            response = session.post(self._url, data=self._bodies[index], timeout=10)
            prediction = response.json()["predictions"][0] if response.ok else float("nan")
            status, version = response.status_code, response.headers.get(names.PIN_HEADER, "none")
            request_id = response.headers.get(names.REQUEST_ID_HEADER, "")
        except requests.RequestException:
            status, version, prediction, request_id = 0, "none", float("nan"), ""
        return Reply(index, status, version, prediction, time.perf_counter() - started, request_id)
