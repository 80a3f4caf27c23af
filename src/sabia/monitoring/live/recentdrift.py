"""Drift and quality in the log of yesterday and today, read in the background: reading takes seconds."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

from sabia.errors import SabiaError
from sabia.monitoring import drift, table
from sabia.monitoring.live.snapshot import VersionDrift
from sabia.monitoring.report import recent
from sabia.store.objects import Store

# The log is read this often, and more often while there is none.
_SECONDS, _SECONDS_WITHOUT_LOG = 60.0, 10.0


class RecentDrift:
    """Drift and quality of a model's versions. `cache` is the folder for files of a remote log."""

    def __init__(self, store: Store, model: str, cache: Path | None) -> None:
        self._store, self._model, self._cache = store, model, cache
        self._latest: tuple[list[VersionDrift], str | None] = ([], None)
        self._due = 0.0
        self._reading = threading.Lock()

    def latest(self) -> tuple[list[VersionDrift], str | None]:
        """Drift and quality by version, and when the log was read; nothing and None without a log.

        Starts a new reading if due. Does not block.
        """
        if monotonic() >= self._due and self._reading.acquire(blocking=False):
            self._due = monotonic() + _SECONDS
            # Not a daemon: ending the interpreter under DuckDB's or Arrow's threads aborts the process.
            threading.Thread(target=self._read, name="drift").start()
        return self._latest

    def _read(self) -> None:
        try:
            today = datetime.now(UTC).date()
            by_version = recent(self._store, self._model, today - timedelta(days=1), today, cache=self._cache)
            states = [
                VersionDrift(
                    version,
                    rows.total.rows,
                    drift.names(rows.drift) if drift.is_judged(rows.drift) else None,
                    table.quality(assessed.quality, assessed.reason),
                )
                for version, (rows, assessed) in by_version.items()
            ]
            self._latest = states, datetime.now(UTC).isoformat(timespec="seconds")
        except SabiaError:
            self._latest = [], None  # nothing is logged or it cannot be read: the page shows that there is no drift yet
            self._due = monotonic() + _SECONDS_WITHOUT_LOG
        finally:
            self._reading.release()
