"""The log of one process: records are kept on the event loop, and a thread writes them to the store.

A response never waits for the log. What does not fit is dropped and counted: records that memory has no room for while
the thread is behind, and files that neither the store nor the disk takes. A process that is killed loses what it had
in memory: at most what it served in the last `log_seconds`, and what the thread was writing.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from time import monotonic, perf_counter, time
from typing import Any
from uuid import uuid4
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sabia.contract.inferencelog import log_key, log_prefix
from sabia.contract.names import ROUTES
from sabia.errors import SabiaError
from sabia.folders import cache_folder
from sabia.serving.errors import LoadFailed
from sabia.serving.inference.model import Model
from sabia.serving.log import parquet
from sabia.serving.log.records import Block, Records, Scalars, TypedBlock
from sabia.serving.log.spool import Spool
from sabia.serving.log.values import Values, ValuesOf
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import VersionMetrics
from sabia.serving.telemetry.sink import Described
from sabia.store.objects import Store

Array = NDArray[np.float64]
AnyBlock = Records[Any]

_ROUTE_NUMBERS = {route: number for number, route in enumerate(ROUTES)}

logger = logging.getLogger("sabia.predictor")

# How long the store may take for one file before the file goes to the spool, and how often it is tried again.
_PATIENCE_SECONDS = 5.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0


class InferenceLog:
    """The requests and predictions of one process.

    Everything but `_write` and what it calls happens on the event loop.

    Args:
        model: the version.
        settings: where the log goes, and its bounds.
        metrics: counts what is kept and dropped.
        open_store: opens the store, in the thread and not before: a process that has used a store must not fork.
    """

    def __init__(
        self, model: Described, settings: Settings, metrics: VersionMetrics, open_store: Callable[[], Store]
    ) -> None:
        self._name = model.name
        redacted = frozenset(redacted_columns(settings))
        typed, width = not isinstance(model, Model), len(model.names)
        # What the log keeps of rows and predictions; callable from any thread.
        self.kept: Callable[[Any, Any], Scalars | Values] = ValuesOf(model.signature, redacted) if typed else Scalars
        self._new_block: Callable[[], AnyBlock] = TypedBlock if typed else lambda: Block(width)
        self._metadata = parquet.FileMetadata(
            model=model.name,
            version=model.version,
            digest=model.content_digest,
            server=settings.log_server or socket.gethostname(),
            signature=model.signature,
            sample_rate=settings.log_sample,
            redacted=redacted,
        )
        parquet.warm_up(self._metadata, self._new_block())
        self._metrics = metrics
        self._open_store = open_store
        self._sample = int(settings.log_sample * 2**32) if settings.log_sample < 1 else None
        self._file_rows, self._seconds, self._memory = (
            settings.log_rows,
            settings.log_seconds,
            settings.log_memory_bytes,
        )
        self._spool = Spool(_spool_folder(settings), settings.log_spool_bytes, log_prefix(model.name))
        self._block: AnyBlock = self._new_block()
        self._blocks: list[AnyBlock] = []  # full blocks of the next file
        self._since = monotonic()
        self._waiting: deque[list[AnyBlock]] = deque()  # files that the thread has yet to write
        self._held = 0  # bytes of blocks that are handed over and not written
        self._written = 0
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write, name="inference-log", daemon=True)

    def start(self) -> None:
        """Begin to write, spooled files of an earlier process first; after this the process must not fork."""
        self._wake.set()
        self._thread.start()

    # -- on the event loop -------------------------------------------------------------------------------------------

    def singles(self, ids: Sequence[bytes], rows: Scalars | Values, started: Array, seconds: Array, route: str) -> None:
        """Keep the rows of some requests of one row each; everything else has the shape (rows,).

        `started` is by `time.perf_counter`.
        """
        arrived = started + (time() - perf_counter())
        if self._sample is not None:
            kept = [at for at, each in enumerate(ids) if self.samples(each)]
            ids = [ids[at] for at in kept]
            rows, arrived, seconds = rows.take(kept), arrived[kept], seconds[kept]
        self._keep(ids, rows, arrived, seconds, np.zeros(len(rows), dtype=np.int64), route)

    def many(self, request_id: bytes, rows: Scalars | Values, seconds: float, route: str) -> None:
        """Keep the rows of one request."""
        if not self.samples(request_id):
            return
        count = len(rows)
        arrived, took = np.full(count, time() - seconds), np.full(count, seconds)
        self._keep(request_id, rows, arrived, took, np.arange(count), route)

    def error(self, request_id: bytes, status: int, body: bytes, seconds: float, route: str) -> None:
        """Keep a request that got an error response."""
        if not self.samples(request_id):
            return
        self._block.add_error(request_id, status, body, time() - seconds, seconds, _ROUTE_NUMBERS[route])
        if self._block.full:
            self._next_block()

    def tick(self) -> None:
        """Hand over what has waited long enough; called about twice a second."""
        if monotonic() - self._since >= self._seconds:
            self._hand_over()
        handed_over = sum(map(_rows, list(self._waiting)))
        self._metrics.set_log_waiting(_rows(self._blocks) + len(self._block) + handed_over)

    def close(self, seconds: float) -> None:
        """Write what there is, within this many seconds; what has not reached the store then stays on disk, or is lost
        and counted. Blocks.
        """
        self._hand_over()
        self._stopping.set()
        self._wake.set()
        self._thread.join(seconds)
        lost = sum(map(_rows, list(self._waiting)))
        if lost:
            self._metrics.count_log_dropped(lost)
            logger.warning("inference log: %d records were not written in time and are lost", lost)
        left = len(self._spool.spooled())
        if left:
            logger.warning("inference log: %d files stay on disk; the next server with that folder sends them", left)

    def samples(self, request_id: bytes) -> bool:
        """Whether a request of this id is logged."""
        # By the id, so that a mirrored copy is kept whenever its request is.
        return self._sample is None or crc32(request_id) < self._sample

    def _keep(
        self,
        ids: bytes | Sequence[bytes],
        rows: Scalars | Values,
        arrived: Array,
        seconds: Array,
        places: NDArray[np.int64],
        route: str,
    ) -> None:
        number, at = _ROUTE_NUMBERS[route], 0
        while at < len(rows):
            part = slice(at, None)
            at += self._block.add(
                ids if isinstance(ids, bytes) else ids[part],
                rows.part(part),
                arrived[part],
                seconds[part],
                places[part],
                number,
            )
            if self._block.full:
                self._next_block()

    def _next_block(self) -> None:
        self._blocks.append(self._block)
        self._block = self._new_block()
        if _rows(self._blocks) >= self._file_rows or sum(block.nbytes for block in self._blocks) >= self._memory // 4:
            self._hand_over()

    def _hand_over(self) -> None:
        self._since = monotonic()
        if len(self._block):
            self._blocks.append(self._block)
            self._block = self._new_block()
        if not self._blocks:
            return
        blocks, self._blocks = self._blocks, []
        size = sum(block.nbytes for block in blocks)
        if self._held - self._written + size > self._memory:
            self._metrics.count_log_dropped(_rows(blocks))
            return
        self._held += size
        self._waiting.append(blocks)
        self._wake.set()

    # -- in the thread -----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        sender = _Sender(self._open_store, self._spool)
        while True:
            self._wake.wait(sender.next_try())
            self._wake.clear()
            while self._waiting:
                self._write_file(self._waiting[0], sender)
                self._written += sum(block.nbytes for block in self._waiting.popleft())
            sender.send_spooled(hurry=self._stopping.is_set())
            if self._stopping.is_set() and not self._waiting:
                return

    def _write_file(self, blocks: list[AnyBlock], sender: _Sender) -> None:
        try:
            for day, rows, data in parquet.files(blocks, self._metadata):
                key = log_key(self._name, day, self._metadata.server, uuid4())
                if sender.send(key, data):
                    self._metrics.count_log_kept(rows)
                else:
                    self._metrics.count_log_unwritten(rows)
        except Exception:
            # Serving goes on, and the loss is counted.
            logger.exception("inference log: records could not be written")
            self._metrics.count_log_unwritten(_rows(blocks))


class _Sender:
    """Sends files to the store, or to the spool while the store is unavailable."""

    def __init__(self, open_store: Callable[[], Store], spool: Spool) -> None:
        self._open, self._spool = open_store, spool
        self._store: Store | None = None
        self._pause = 0.0
        self._not_before = 0.0

    def send(self, key: str, data: bytes) -> bool:
        """Whether the file is safe: in the store, or in the spool for later."""
        return (not self._unavailable and self._put(key, data)) or self._spool.put(key, data)

    def send_spooled(self, *, hurry: bool) -> None:
        """Send the spooled files, as long as the store takes them; `hurry` tries once more before the pause is over."""
        if self._unavailable and not hurry:
            return
        for key in self._spool.spooled():
            data = self._spool.read(key)
            if data is not None and not self._put(key, data):
                return
            self._spool.remove(key)

    def next_try(self) -> float | None:
        """Seconds until the store is tried again; None when nothing waits for it."""
        return max(0.0, self._not_before - monotonic()) if self._pause else None

    @property
    def _unavailable(self) -> bool:
        return self._pause > 0 and monotonic() < self._not_before

    def _put(self, key: str, data: bytes) -> bool:
        try:
            if self._store is None:
                self._store = self._open()
            self._store.create_unique(key, data)
        except SabiaError as error:
            if not self._pause:
                logger.warning("inference log: %s Files wait on disk meanwhile.", error)
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            self._not_before = monotonic() + self._pause
            return False
        if self._pause:
            logger.info("inference log: the store takes files again")
        self._pause = 0.0
        return True


def open_log(model: Described, settings: Settings, url: str, metrics: VersionMetrics) -> InferenceLog:
    """The log of these settings, in the store at this URL; nothing is written before it is started.

    Raises:
        LoadFailed: the settings redact a column that does not exist.
        UnsafeFolder: the folder for files while the store is unavailable belongs to another user.
    """
    for name in redacted_columns(settings):
        if name not in (*model.names, *parquet.REDACTABLE):
            raise LoadFailed(f"log_redact names {name!r}, which is neither an input nor a column that may be empty.")
    return InferenceLog(model, settings, metrics, lambda: Store.open(url, make=True, patience=_PATIENCE_SECONDS))


def _spool_folder(settings: Settings) -> Path:
    """The folder of the settings, else one of this user's for this log: the files of another store are not sent there.

    Raises:
        UnsafeFolder: another user has taken its place.
    """
    if settings.log_spool:
        return Path(settings.log_spool)
    return cache_folder("the inference log", "spool", sha256((settings.log or "").encode()).hexdigest()[:16])


def redacted_columns(settings: Settings) -> list[str]:
    """The redacted columns, as the setting names them."""
    return [name for name in (part.strip() for part in settings.log_redact.split(",")) if name]


def _rows(blocks: list[AnyBlock]) -> int:
    return sum(map(len, blocks))
