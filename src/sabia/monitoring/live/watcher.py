"""Takes snapshots of a model: versions, weights, counters, rollouts, drift."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from sabia.errors import SabiaError
from sabia.monitoring.live.ports import Counters, Weights
from sabia.monitoring.live.rates import RequestRates
from sabia.monitoring.live.recentdrift import RecentDrift
from sabia.monitoring.live.snapshot import Snapshot, VersionState
from sabia.monitoring.rollouts import FollowedRollout, Rollout
from sabia.registry import catalogue
from sabia.registry.aliases import aliases
from sabia.rollout.counters import Scrape
from sabia.rollout.record import Record, names
from sabia.store.objects import Store

T = TypeVar("T")

# The page shows this many rollouts, the newest; a report shows all.
_ROLLOUTS = 5


class Watcher:
    """Takes snapshots on request. Records and counters that it has read are kept for the next snapshot.

    Args:
        store: versions, aliases, records and the log.
        model: the model's name.
        weights: the traffic weights.
        counters: the request counters; None if they cannot be reached.
        actions: whether the page may take actions.
        cache: the folder for files of a remote log.
    """

    def __init__(
        self,
        store: Store,
        model: str,
        weights: Weights,
        counters: Counters | None,
        *,
        actions: bool = False,
        cache: Path | None = None,
    ) -> None:
        self._store, self.model, self._weights, self._counters = store, model, weights, counters
        self._actions = actions
        self._followed: dict[str, FollowedRollout] = {}
        self._rates = RequestRates()
        self._drift = RecentDrift(store, model, cache)

    def snapshot(self) -> Snapshot:
        """The state now. What the platform or the store cannot provide is listed in `problems`, never raised."""
        problems: list[str] = []
        weights = _attempt(problems, self._weights.weights) or {}
        scrape = None if self._counters is None else _attempt(problems, self._counters.scrape)
        published = _attempt(problems, lambda: catalogue.versions(self._store, self.model)) or []
        aliases_of = _attempt(problems, self._aliases_by_version) or {}
        versions = self._versions([str(version) for version in published], weights, scrape, aliases_of)
        rollouts = _attempt(problems, self._rollouts) or []
        drift, drift_at = self._drift.latest()
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return Snapshot(self.model, at, versions, rollouts, drift, drift_at, problems, self._actions)

    def _aliases_by_version(self) -> dict[str, list[str]]:
        by_version: dict[str, list[str]] = {}
        for alias, version in aliases(self._store, self.model).items():
            by_version.setdefault(str(version), []).append(alias)
        return by_version

    def _versions(
        self,
        published: list[str],
        weights: Mapping[str, int],
        scrape: Scrape | None,
        aliases_of: Mapping[str, list[str]],
    ) -> list[VersionState]:
        requests, failed = ({}, {}) if scrape is None else (_requests(scrape), _failed(scrape))
        trouble = {} if scrape is None else scrape.trouble
        rates = self._rates.update(requests)
        serving = {*weights, *requests, *trouble}
        return [
            VersionState(
                version=version,
                aliases=aliases_of.get(version, []),
                weight=weights.get(version, 0),
                serving=version in serving,
                requests=requests.get(version),
                failed=failed.get(version),
                rate=rates.get(version),
                trouble=trouble.get(version),
            )
            for version in published
        ]

    def _rollouts(self) -> list[Rollout]:
        newest = names(self._store, self.model)[-_ROLLOUTS:]
        for name in newest:
            self._followed.setdefault(name, FollowedRollout(Record(self._store, self.model, name)))
        return [self._followed[name].read() for name in reversed(newest)]


def _requests(scrape: Scrape) -> dict[str, int]:
    return {version: sum(each.requests for each in replicas.values()) for version, replicas in scrape.arms.items()}


def _failed(scrape: Scrape) -> dict[str, int]:
    return {version: sum(each.errors for each in replicas.values()) for version, replicas in scrape.arms.items()}


def _attempt(problems: list[str], read: Callable[[], T]) -> T | None:
    """The result of a read, or None and a problem."""
    try:
        return read()
    except (SabiaError, OSError) as error:
        # Our own messages are written for users; those of the network are not.
        problem = str(error) if isinstance(error, SabiaError) else "The platform does not respond."
        if problem not in problems:
            problems.append(problem)
        return None
