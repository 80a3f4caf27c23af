"""What the live page shows, at one instant."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import TypeVar

import msgspec

from sabia.monitoring import drift
from sabia.monitoring.errors import MonitoringError
from sabia.monitoring.live.ports import Counters, Weights
from sabia.monitoring.report import distributions
from sabia.monitoring.rollouts import Followed, Rollout
from sabia.registry import catalogue
from sabia.registry.aliases import aliases
from sabia.rollout.counters import Scrape
from sabia.rollout.errors import RolloutError
from sabia.rollout.record import Record, names
from sabia.store.errors import ArtifactError
from sabia.store.objects import Store

T = TypeVar("T")

# Rates are of so many seconds.
_RATE_SECONDS = 10.0
# Drift is looked at so often, and more often while there is no log.
_DRIFT_SECONDS, _NO_DRIFT_SECONDS = 60.0, 10.0
# The page shows the newest; a report shows all.
_ROLLOUTS = 5


class Version(msgspec.Struct, frozen=True):
    """One version. `requests` and `failed` are those of its servers since they started; None when they do not say."""

    version: str
    aliases: list[str]
    weight: int
    serving: bool
    requests: int | None
    failed: int | None
    rate: float | None
    trouble: str | None


class Drift(msgspec.Struct, frozen=True):
    """What today's log says of one version; `drifted` is None when there are too few rows."""

    version: str
    rows: int
    drifted: list[str] | None


class Snapshot(msgspec.Struct, frozen=True):
    """Everything at one instant.

    Attributes:
        problems: what could not be seen, a sentence each.
        drift_at: when drift was last looked at.
        decisions: whether the page may be used to decide.
    """

    model: str
    at: str
    versions: list[Version]
    rollouts: list[Rollout]
    drift: list[Drift]
    drift_at: str | None
    problems: list[str]
    decisions: bool


class Watcher:
    """Looks, when it is asked to; what it sees of records and counters it keeps for the next look.

    Args:
        store: versions, aliases, records and the log.
        model: which model.
        split: who knows the weights.
        source: who knows the counters; None when nobody can be asked.
        decisions: whether the page may be used to decide.
        cache: where files of a remote log are brought.
    """

    def __init__(
        self,
        store: Store,
        model: str,
        split: Weights,
        source: Counters | None,
        *,
        decisions: bool = False,
        cache: Path | None = None,
    ) -> None:
        self._store, self.model, self._split, self._source = store, model, split, source
        self._decisions, self._cache = decisions, cache
        self._followed: dict[str, Followed] = {}
        self._seen: deque[tuple[float, dict[str, int]]] = deque()
        self._drift: tuple[list[Drift], str | None] = ([], None)
        self._drift_due = 0.0
        self._looking_at_drift = threading.Lock()

    def look(self) -> Snapshot:
        """What there is now. Never raises what the platform may do: what could not be seen is a problem told."""
        problems: list[str] = []
        weights = _or(problems, self._split.weights) or {}
        scrape = None if self._source is None else _or(problems, self._source.scrape)
        claimed = [str(version) for version in _or(problems, lambda: catalogue.versions(self._store, self.model)) or []]
        pointing = _or(problems, lambda: aliases(self._store, self.model)) or {}
        by_version: dict[str, list[str]] = {}
        for alias, version in pointing.items():
            by_version.setdefault(str(version), []).append(alias)
        requests = {} if scrape is None else _requests(scrape)
        rates = self._rates(requests)
        served = {*weights, *requests, *({} if scrape is None else scrape.trouble)}
        versions = [
            Version(
                version=version,
                aliases=by_version.get(version, []),
                weight=weights.get(version, 0),
                serving=version in served,
                requests=requests.get(version),
                failed=None if scrape is None or version not in requests else _failed(scrape, version),
                rate=rates.get(version),
                trouble=None if scrape is None else scrape.trouble.get(version),
            )
            for version in claimed
        ]
        rollouts = _or(problems, self._rollouts) or []
        self._look_at_drift()
        drift, drift_at = self._drift
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return Snapshot(self.model, at, versions, rollouts, drift, drift_at, problems, self._decisions)

    def _rollouts(self) -> list[Rollout]:
        found = names(self._store, self.model)[-_ROLLOUTS:]
        for name in found:
            self._followed.setdefault(name, Followed(Record(self._store, self.model, name)))
        return [self._followed[name].read() for name in reversed(found)]

    def _rates(self, requests: dict[str, int]) -> dict[str, float]:
        now = monotonic()
        self._seen.append((now, requests))
        while len(self._seen) > 2 and self._seen[1][0] <= now - _RATE_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        if now <= then:
            return {}
        # A server that started again counts from 0: no rate rather than a negative one.
        return {
            version: (count - before[version]) / (now - then)
            for version, count in requests.items()
            if count >= before.get(version, count + 1)
        }

    def _look_at_drift(self) -> None:
        """Now and then, beside: a log takes seconds to read."""
        if monotonic() < self._drift_due or not self._looking_at_drift.acquire(blocking=False):
            return
        self._drift_due = monotonic() + _DRIFT_SECONDS
        # Not a daemon: ending the interpreter under DuckDB's or Arrow's threads aborts the process.
        threading.Thread(target=self._read_log, name="drift").start()

    def _read_log(self) -> None:
        try:
            today = datetime.now(UTC).date()
            seen = distributions(self._store, self.model, today - timedelta(days=1), today, cache=self._cache)
            found = [
                Drift(version, of.total.rows, drift.names(of.drift) if drift.is_judged(of.drift) else None)
                for version, of in seen.items()
            ]
            self._drift = found, datetime.now(UTC).isoformat(timespec="seconds")
        except (MonitoringError, ArtifactError, RolloutError):
            self._drift = [], None  # nothing logged, or nothing to be had of it: the page says so
            self._drift_due = monotonic() + _NO_DRIFT_SECONDS
        finally:
            self._looking_at_drift.release()


def _requests(scrape: Scrape) -> dict[str, int]:
    return {version: sum(each.requests for each in replicas.values()) for version, replicas in scrape.arms.items()}


def _failed(scrape: Scrape, version: str) -> int:
    return sum(each.errors for each in scrape.arms.get(version, {}).values())


def _or(problems: list[str], ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except (ArtifactError, RolloutError, OSError) as error:
        # Our own errors are sentences; what the network says is not for a page.
        told = str(error) if isinstance(error, ArtifactError | RolloutError) else "The platform does not answer."
        if told not in problems:
            problems.append(told)
        return None
