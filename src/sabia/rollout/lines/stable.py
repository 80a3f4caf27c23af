"""The stable version as it was known before a look, and a look: one batch of both arms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from sabia.rollout.counters import BUCKETS, Arm
from sabia.sequential import Batch, Dispersion, Memory, OddsTest
from sabia.sequential.wealth import Array

_FORGETTING = 1 - 1 / 240


class Stable(msgspec.Struct, frozen=True):
    """What is known of the stable before a look; every canary is compared with the same.

    Attributes:
        n, errors: requests and failures, with older ones forgotten.
        scatter, pairs, last_n, last_x: see `sequential.Dispersion`.
        decision, duration: weights by bucket, see `sequential.Memory`.
        recent: requests and failures of each of the last looks, to notice that it got worse.
    """

    n: float = 0.0
    errors: float = 0.0
    scatter: float = 0.0
    pairs: float = 0.0
    last_n: int = 0
    last_x: int = 0
    decision: dict[int, float] = {}
    duration: dict[int, float] = {}
    recent: list[tuple[int, int]] = []

    @property
    def guess(self) -> float:
        """The rate of failures expected of the next batch; half a failure in 200 requests at first."""
        return (self.errors + 0.5) / (self.n + 200.0)

    @property
    def phi(self) -> float:
        """See `sequential.Dispersion.phi`."""
        return float(self._dispersion.phi)

    @property
    def _dispersion(self) -> Dispersion:
        scatter, pairs = np.asarray(self.scatter), np.asarray(self.pairs)
        return Dispersion(scatter, pairs, np.asarray(self.last_n), np.asarray(self.last_x))

    def memory(self, name: str) -> Memory:
        """The recent durations of its requests."""
        weights = np.zeros(BUCKETS)
        for bucket, weight in getattr(self, name).items():
            weights[bucket] = weight
        return Memory(weights)

    def with_history(self, decision: Array, duration: Array) -> Stable:
        """With the durations before the first look, counts of shape (BUCKETS,) each."""
        memories = {"decision": Memory.start(decision), "duration": Memory.start(duration)}
        return msgspec.structs.replace(self, **{name: _sparse(memory) for name, memory in memories.items()})

    def update(self, arm: Arm) -> Stable:
        """What is known after one more batch."""
        dispersion = self._dispersion.update(np.asarray(arm.n), np.asarray(arm.errors))
        return Stable(
            n=self.n * _FORGETTING + arm.n,
            errors=self.errors * _FORGETTING + arm.errors,
            scatter=float(dispersion.scatter),
            pairs=float(dispersion.pairs),
            last_n=int(dispersion.last_n),
            last_x=int(dispersion.last_x),
            decision=_sparse(self.memory("decision").update(arm.decision)),
            duration=_sparse(self.memory("duration").update(arm.duration)),
            recent=[*self.recent, (arm.n, arm.errors)][-_RECENT:],
        )

    @property
    def worsening(self) -> str | None:
        """How much more of its requests fail in the last looks than before them; None if they do not."""
        n, errors = (sum(item[at] for item in self.recent) for at in (0, 1))
        old_n, old_errors = self.n - n, self.errors - errors
        if len(self.recent) < _RECENT or old_n < _ENOUGH or errors < _WORSE_SHARE * n or n == 0:
            return None
        table = Batch.single(round(old_n), n, min(round(max(old_errors, 0.0)), round(old_n)), errors)
        log_e = float(np.max(OddsTest(null=_WORSE_ODDS, ratios=(2.0, 10.0)).log_e(table)))
        if log_e < math.log(1000):
            return None
        return f"{errors:,} of its last {n:,} requests failed, {old_errors / old_n:.2%} of those before"


# The stable version is worse than its own history when 5 % of the requests of the last looks failed and the evidence
# that their odds are more than five times those before is a thousand to one.
_RECENT = 4
_ENOUGH = 200.0
_WORSE_SHARE = 0.05
_WORSE_ODDS = 5.0


def _sparse(memory: Memory) -> dict[int, float]:
    at = np.flatnonzero(memory.weights)
    return dict(zip(at.tolist(), memory.weights[at].tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Look:
    """One batch: both arms, and the stable version as it was known before."""

    stable: Arm
    canary: Arm
    known: Stable
