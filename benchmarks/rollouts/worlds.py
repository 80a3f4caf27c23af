"""What happens to a stable and a canary version, batch by batch, for many rollouts at once.

A world is a rate of requests and, for each arm, how its requests turn out; all of it may change with time. Time is in
seconds. One batch is what happens between two looks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from sabia.sequential import Batch

Counts = NDArray[np.int64]
Array = NDArray[np.float64]
Curve = Callable[[float], float]

LOOK = 15.0


def constant(value: float) -> Curve:
    """The same at all times."""
    return lambda _: value


STEADY = constant(1.0)


@dataclass(frozen=True, slots=True)
class World:
    """Requests that fail or do not.

    Attributes:
        name: what tables call it.
        rate: requests a second.
        stable, canary: share of their requests that fails.
        burst: failures come in bursts of this mean size (geometric), each in one arm: a client that sticks to it.
        misrouted: what the canary's share really is, as a multiple of its weight.
    """

    name: str
    rate: Curve
    stable: Curve
    canary: Curve
    burst: float = 1.0
    misrouted: float = 1.0

    def batch(self, rng: np.random.Generator, at: float, weight: Array) -> Batch:
        """What both arms count in the batch that ends at `at`; `weight` (rollouts,) is the canary's share."""
        total = rng.poisson(self.rate(at) * LOOK, len(weight))
        # A weighted round robin: the share is met but for a request.
        n1 = np.floor(total * np.clip(weight * self.misrouted, 0, 1) + rng.random(len(weight))).astype(np.int64)
        n1 = np.minimum(n1, total)
        n0 = total - n1
        return Batch(n0, n1, self._failures(rng, n0, self.stable(at)), self._failures(rng, n1, self.canary(at)))

    def history(self, rng: np.random.Generator, rollouts: int, looks: int) -> tuple[Counts, Counts]:
        """Requests and failures of the stable alone, before the rollout; shape (looks, rollouts)."""
        n = rng.poisson(self.rate(0.0) * LOOK, (looks, rollouts))
        return n, np.stack([self._failures(rng, row, self.stable(0.0)) for row in n])

    def _failures(self, rng: np.random.Generator, n: Counts, share: float) -> Counts:
        if self.burst == 1.0:
            return rng.binomial(n, share)
        bursts = rng.poisson(n * share / self.burst)
        extra = np.where(bursts > 0, rng.negative_binomial(np.maximum(bursts, 1), 1 / self.burst), 0)
        return np.minimum(bursts + extra, n)


def tripling(at: float) -> float:
    """From 1 to 3 over the first quarter of an hour."""
    return 1 + 2 * min(at / 900, 1.0)


def _day(at: float) -> float:
    """A day of a quarter of an hour, between a third and three times."""
    return float(3 ** np.sin(2 * np.pi * at / 900))


def nulls(rate: float) -> list[World]:
    """Worlds in which the canary is the stable."""
    found = [World(f"p = {p:.4g}", constant(rate), constant(p), constant(p)) for p in (0.0, 0.0001, 0.001, 0.008, 0.05)]

    def outage(at: float) -> float:
        return 0.05 if 300 <= at < 540 else 0.001

    def drift(at: float) -> float:
        return 0.002 * tripling(at)

    def day(at: float) -> float:
        return 0.002 * _day(at)

    found.append(World("outage of both", constant(rate), outage, outage))
    found.append(World("load drifts x3", lambda at: rate * tripling(at), drift, drift))
    found.append(World("diurnal", lambda at: rate * _day(at), day, day))
    found += [
        World(f"share {misrouted:+.0%}", constant(rate), constant(0.005), constant(0.005), misrouted=1 + misrouted)
        for misrouted in (-0.5, 0.5)
    ]
    return found


def ramp(rate: float) -> World:
    """The failure rate rises with the weight, which misleads tests that pool."""
    return World("ramp 1 -> 50 %", constant(rate), lambda at: 0.004 * tripling(at), lambda at: 0.004 * tripling(at))


def bursts(rate: float, size: float, *, worse: float = 1.0) -> World:
    """Failures that come in bursts; the canary may have `worse` times as many."""
    share = 0.005
    return World(f"bursts of {size:g}", constant(rate), constant(share), constant(min(share * worse, 1.0)), burst=size)


def worse(rate: float, stable: float, canary: float) -> World:
    """A canary that fails more often."""
    return World(f"{stable:.4g} -> {canary:.4g}", constant(rate), constant(stable), constant(canary))


def leak(rate: float) -> World:
    """A canary that starts to fail after ten minutes."""
    return World("leak from minute 10", constant(rate), constant(0.001), lambda at: 0.001 if at < 600 else 0.05)


def plus(curve: Curve, more: float) -> Curve:
    """A share that is always higher by this much."""
    return lambda at: curve(at) + more


@dataclass(frozen=True, slots=True)
class Times:
    """Decisions that take log-normal times, median `median` seconds and 99 % under `p99`; or a tail beside them.

    Attributes:
        factor: what the canary's times are multiplied by.
        tail: share of the canary's requests that takes `extra` seconds more.
        common: what the times of both are multiplied by, over time.
        cold: seconds in which the canary takes twice as long.
    """

    name: str
    rate: float
    factor: float = 1.0
    tail: float = 0.0
    extra: float = 1.0
    common: Curve = STEADY
    cold: float = 0.0

    def batch(self, rng: np.random.Generator, at: float, weight: Array, edges: Array) -> tuple[Counts, Counts]:
        """Counts by bucket of stable and canary, shape (rollouts, buckets)."""
        total = rng.poisson(self.rate * LOOK, len(weight))
        n1 = np.floor(total * weight + rng.random(len(weight))).astype(np.int64)
        cold = 2.0 if at <= self.cold else 1.0
        stable = self._shares(edges, self.common(at))
        canary = self._shares(edges, self.common(at) * self.factor * cold)
        if self.tail:
            late = self._shares(edges - self.extra, self.common(at))
            canary = (1 - self.tail) * canary + self.tail * late
        return rng.multinomial(total - n1, stable), rng.multinomial(n1, canary)

    def before(self, rng: np.random.Generator, rollouts: int, edges: Array) -> Array:
        """What the stable did before the rollout."""
        return np.asarray(rng.multinomial(np.full(rollouts, 500), self._shares(edges, self.common(0.0)))).astype(float)

    @staticmethod
    def _shares(edges: Array, factor: float) -> Array:
        """Of a log-normal with median 50 ms and p99 202 ms (sigma 0.6), times `factor`: the share in each bucket."""
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(edges > 0, np.log(np.maximum(edges, 1e-12) / (0.05 * factor)) / 0.6, -np.inf)
        upto = np.concatenate([norm.cdf(z), [1.0]])
        found = np.diff(upto, prepend=0.0)
        shares: Array = found / found.sum()
        return shares


@dataclass(frozen=True, slots=True)
class Answers:
    """Predictions over ten bins.

    Attributes:
        moved: total variation between canary and stable: one bin gets it from all others.
        spread: the same, from five bins to five others: the hardest to see.
        constant: whether the canary always answers the same.
        drifting: whether the distribution of both changes with time.
    """

    name: str
    rate: float
    moved: float = 0.0
    spread: bool = False
    constant: bool = False
    drifting: bool = False

    def batch(self, rng: np.random.Generator, at: float, weight: Array) -> tuple[Counts, Counts]:
        """Counts by bin of stable and canary, shape (rollouts, 10)."""
        total = rng.poisson(self.rate * LOOK, len(weight))
        n1 = np.floor(total * weight + rng.random(len(weight))).astype(np.int64)
        slope = 1 + (2 * min(at / 900, 1.0) if self.drifting else 0.0)
        stable = np.linspace(1, slope, 10)
        stable /= stable.sum()
        canary = stable.copy()
        if self.constant:
            canary = np.eye(10)[3]
        elif self.moved and self.spread:
            canary = stable + np.repeat([self.moved / 5, -self.moved / 5], 5)
        elif self.moved:
            canary = stable * (1 - self.moved / 0.9)
            canary[0] = stable[0] + self.moved
        return rng.multinomial(total - n1, stable), rng.multinomial(n1, np.clip(canary, 0, 1) / canary.sum())
