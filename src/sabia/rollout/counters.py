"""Counters of both arms at one instant, and the difference between two instants.

Counters only ever grow, until a server starts again. A difference is made replica by replica, and only of replicas that
were there at both instants and did not start again in between: nothing is known of the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.contract.durations import EDGES

Counts = NDArray[np.int64]

BUCKETS = len(EDGES) + 1


class Counters(msgspec.Struct, frozen=True, omit_defaults=True):
    """Counts of one replica since it started, of the requests that the split sent it.

    Attributes:
        requests, errors: answered calls that are not the client's fault, and those of them that failed (5xx).
        refused: calls that were refused (4xx), whether their client was at fault or the version.
        aside: calls that say nothing of the version, such as those whose client did not wait; they are responses too.
        decision, duration: calls by bucket of the decision's own time and of the whole duration; not cumulative.
        bins: predictions by bin, by the bin's name.
    """

    requests: int = 0
    errors: int = 0
    decision: dict[int, int] = {}
    duration: dict[int, int] = {}
    bins: dict[str, int] = {}
    refused: int = 0
    aside: int = 0

    def restarted_since(self, before: Counters) -> bool:
        """Whether a counter is lower than before."""
        pairs = [(getattr(self, name), getattr(before, name)) for name in ("requests", "errors", "refused", "aside")]
        for name in ("decision", "duration", "bins"):
            now = getattr(self, name)
            pairs += [(now.get(key, 0), count) for key, count in getattr(before, name).items()]
        return any(late < early for late, early in pairs)


class Gateway(msgspec.Struct, frozen=True):
    """What the gateway has counted of one version: calls that the split sent there, and those that failed for whatever
    reason, those that never reached a server among them.
    """

    requests: int
    errors: int


class Scrape(msgspec.Struct, frozen=True, omit_defaults=True):
    """The counters of every version of a rollout at one instant.

    Attributes:
        arms: by version, then by replica.
        gateway: by version, where the gateway counts versions apart.
        trouble: versions that cannot serve, and why.
        labels: by the batch in which the predictions were made, and then by version: predictions whose truth is known,
            and those that were wrong. Only batches that are closed: whose truths are all there, or will not be waited
            for.
    """

    arms: dict[str, dict[str, Counters]]
    gateway: dict[str, Gateway] = {}
    trouble: dict[str, str] = {}
    labels: dict[str, dict[str, tuple[int, int]]] = {}


@dataclass(frozen=True, slots=True)
class Arm:
    """What happened in one arm between two scrapes.

    Attributes:
        n, errors: requests, and those that failed.
        refused: requests beside those that were refused.
        aside: requests beside those that say nothing of the version.
        decision, duration: requests by bucket, shape (BUCKETS,); of replicas that are warm.
        bins: predictions by bin.
        labels: by closed batch, truths and those that the prediction missed; see `Scrape.labels`.
    """

    n: int = 0
    errors: int = 0
    decision: Counts = field(default_factory=lambda: np.zeros(BUCKETS, dtype=np.int64))
    duration: Counts = field(default_factory=lambda: np.zeros(BUCKETS, dtype=np.int64))
    bins: dict[str, int] = field(default_factory=dict)
    labels: dict[str, tuple[int, int]] = field(default_factory=dict)
    refused: int = 0
    aside: int = 0

    @property
    def responses(self) -> int:
        """Every response, whatever its status."""
        return self.n + self.refused + self.aside


def difference(before: Scrape, now: Scrape, version: str, *, cold: frozenset[str] = frozenset()) -> Arm:
    """What happened in one arm; the times of `cold` replicas are left out, everything else of them counts."""
    earlier = before.arms.get(version, {})
    later = now.arms.get(version, {})
    same = [name for name in sorted(later) if name in earlier and not later[name].restarted_since(earlier[name])]
    pairs = [(earlier[name], later[name]) for name in same]
    warm = [(earlier[name], later[name]) for name in same if name not in cold]
    own = {
        name: sum(getattr(late, name) - getattr(early, name) for early, late in pairs)
        for name in ("requests", "errors", "refused", "aside")
    }
    own |= _gateway(before, now, version)
    bins: dict[str, int] = {}
    for early, late in pairs:
        for name, count in late.bins.items():
            bins[name] = bins.get(name, 0) + count - early.bins.get(name, 0)
    return Arm(
        n=own["requests"],
        errors=own["errors"],
        refused=own["refused"],
        aside=own["aside"],
        decision=_histogram([(early.decision, late.decision) for early, late in warm]),
        duration=_histogram([(early.duration, late.duration) for early, late in warm]),
        bins=bins,
        labels={batch: arms[version] for batch, arms in now.labels.items() if version in arms},
    )


def _gateway(before: Scrape, now: Scrape, version: str) -> dict[str, int]:
    """What the gateway counted between two scrapes, by the names of `Counters`; nothing where it does not count."""
    early, late = before.gateway.get(version), now.gateway.get(version)
    if early is None or late is None:
        return {}
    n, errors = late.requests - early.requests, late.errors - early.errors
    if min(n, errors) < 0:
        return {}
    # An answer may be counted a moment after its request; it belongs to the next batch then.
    return {"requests": n, "errors": min(errors, n)}


def total(scrape: Scrape, version: str, name: str) -> Counts:
    """A histogram over all that the replicas of a version have counted since they started."""
    return _histogram([({}, getattr(replica, name)) for replica in scrape.arms.get(version, {}).values()])


def _histogram(pairs: list[tuple[dict[int, int], dict[int, int]]]) -> Counts:
    found: Counts = np.zeros(BUCKETS, dtype=np.int64)
    for early, late in pairs:
        for bucket, count in late.items():
            found[bucket] += count - early.get(bucket, 0)
    return found
