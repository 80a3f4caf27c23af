"""Labels that arrive when flights have landed: an hour of the flights takes half a second of the demo."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from sabia.demo.client import Client
from sabia.monitoring.labels import add
from sabia.store.objects import Store

SECONDS_AN_HOUR = 0.5
_EVERY = 0.5


class Landings:
    """Adds the label of each answered request once its flight has landed.

    Args:
        store: of the labels.
        client: whose requests they are.
        minutes: by row, from the request to the landing.
        folder: for the files of labels.

    Attributes:
        labels: the number of labels added so far.
    """

    def __init__(self, store: Store, client: Client, minutes: Sequence[float], folder: Path) -> None:
        self._store, self._client, self._folder = store, client, folder
        self._seconds = [each / 60 * SECONDS_AN_HOUR for each in minutes]
        self._read = 0
        self._flying: list[tuple[float, str, int]] = []
        self.labels = 0

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Add labels during the block; left without an error, wait for the last landing."""
        ended, stopped = threading.Event(), threading.Event()
        with ThreadPoolExecutor(1) as pool:
            adding = pool.submit(self._add, ended, stopped)
            try:
                yield
                ended.set()
                adding.result()
            finally:
                stopped.set()

    def _add(self, ended: threading.Event, stopped: threading.Event) -> None:
        while not stopped.wait(_EVERY):
            is_last = ended.is_set()
            self._take_off()
            self._land()
            if is_last and not self._flying:
                return

    def _take_off(self) -> None:
        now, replies = time.monotonic(), self._client.replies
        for reply in replies[self._read : (read := len(replies))]:
            if reply.status == 200:
                heapq.heappush(self._flying, (now + self._seconds[reply.row], reply.request_id, reply.row))
        self._read = read

    def _land(self) -> None:
        lines, now = [], time.monotonic()
        while self._flying and self._flying[0][0] <= now:
            _, request_id, row = heapq.heappop(self._flying)
            lines.append(f"{request_id},{self._client.target[row]}\n")
        if lines:
            path = self._folder / "labels.csv"
            path.write_text("request_id,label\n" + "".join(lines))
            self.labels += add(self._store, self._client.model, path).labels
