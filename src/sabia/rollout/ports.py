"""What the engine needs of the world: who splits the requests, who counts them, what time it is.

The record's store is `sabia.store.objects.Store`. Implementations are in `sabia.kubernetes` and `sabia.local`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from sabia.rollout.counters import Scrape


class Split(Protocol):
    """The split of one model's requests between its versions."""

    def weights(self) -> dict[str, int]:
        """The weights, by version; a version that only pinned requests reach has 0."""

    def set_weights(self, weights: Mapping[str, int]) -> dict[str, int]:
        """Put weights into force, and return all of them once the gateway has confirmed.

        Versions that are not named get 0: the weights given are the whole split.

        Raises:
            UnknownVersion: the route has no such version.
            InvalidWeights: one is negative, or all are zero.
            NotReady: a version that would get requests cannot answer them.
            NotConfirmed: the gateway did not confirm in time.
            MovedConcurrently: the route was changed at the same time.
        """

    def mirror(self) -> str | None:
        """The version that gets a copy of every request that is not pinned; its responses are discarded."""

    def set_mirror(self, version: str | None) -> None:
        """Mirror requests to a version, or to none.

        Raises:
            UnknownVersion, NotReady, NotConfirmed, MovedConcurrently: as for weights.
        """

    def request_counts(self) -> dict[str, int]:
        """Requests that each version was sent, without health checks. A restart may set a count back."""


class Source(Protocol):
    """The counters of the versions of one rollout."""

    def scrape(self) -> Scrape:
        """Every version's counters, as nearly of one instant as possible.

        Raises:
            NotScraped: a version that serves could not be read; half of a comparison proves nothing.
        """


class Clock(Protocol):
    """Time, so that tests can control it."""

    def now(self) -> float:
        """Seconds of a clock that never jumps."""

    def utc(self) -> datetime:
        """The date, for people."""

    def wait(self, seconds: float) -> None:
        """Wait for this many seconds."""
