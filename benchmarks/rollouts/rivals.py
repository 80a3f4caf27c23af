"""The rules of others, re-implemented from their documentation, and textbook tests used as people use them.

Each decides by what it would see: requests and failures of the canary (and of the stable, where it compares), window by
window. Settings are those that the tools document; names say which.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm

from benchmarks.rollouts.ours import Outcome
from benchmarks.rollouts.worlds import LOOK, Answers, Array, Counts, Times, World
from sabia.sequential import Batch

Flags = NDArray[np.bool_]


class Rule(Protocol):
    """A rule for failing requests."""

    def __call__(self, world: World, rollouts: int, rng: np.random.Generator) -> Outcome:
        """The outcome of this many rollouts."""


def _window(world: World, rng: np.random.Generator, start: float, seconds: float, weight: Array) -> Batch:
    """The counts of a window of whole looks."""
    found = [world.batch(rng, start + (at + 1) * LOOK, weight) for at in range(round(seconds / LOOK))]
    counts = [np.sum([getattr(batch, name) for batch in found], axis=0) for name in ("n0", "n1", "x0", "x1")]
    return Batch(*counts)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A limit on the canary's failing share, checked once a window; `strikes` failed checks roll back.

    Attributes:
        limit: the largest share that passes.
        interval: seconds of a window.
        strikes: failed checks that roll back.
        steps: weights, in percent.
        windows: how many windows a step lasts.
        silence: what a window without a request is: "fail", "pass".
        waits: whether a failed check keeps the weight where it is (Flagger).
        within: only failures among this many last windows count; 0: all.
    """

    limit: float
    interval: float
    strikes: int
    steps: tuple[float, ...]
    windows: int = 1
    silence: str = "fail"
    waits: bool = False
    within: int = 0

    def __call__(self, world: World, rollouts: int, rng: np.random.Generator) -> Outcome:
        """See `Rule`."""
        rolled_back, promoted = np.full(rollouts, np.nan), np.full(rollouts, np.nan)
        passed, harm = np.zeros(rollouts, dtype=np.int64), np.zeros(rollouts)
        history: list[Flags] = []
        total, steps, at = len(self.steps) * self.windows, np.array(self.steps) / 100, 0.0
        while at < 7200 and np.any(running := np.isnan(rolled_back) & np.isnan(promoted)):
            weight = steps[np.minimum(passed // self.windows, len(steps) - 1)]
            seen = _window(world, rng, at, self.interval, weight)
            at += self.interval
            share = seen.x1 / np.maximum(seen.n1, 1)
            failed = np.where(seen.n1 > 0, share > self.limit, self.silence == "fail")
            history.append(failed)
            recent = history[-self.within :] if self.within else history
            strikes = np.sum(recent, axis=0)
            harm += np.where(running, seen.x1, 0)
            rolled_back[running & (strikes >= self.strikes)] = at
            passed += np.where(running & (~failed | (not self.waits)), 1, 0)
            promoted[running & np.isnan(rolled_back) & (passed >= total)] = at
        return Outcome(rolled_back, promoted, harm)


@dataclass(frozen=True, slots=True)
class Pooled:
    """All that has been counted so far, put into a test once a minute (or once, at the end), at four weights.

    Attributes:
        test: log-likelihoods of "worse", as booleans, out of pooled counts and time.
        once: only at the end.
    """

    test: Callable[[Batch], Flags]
    once: bool = False

    def __call__(self, world: World, rollouts: int, rng: np.random.Generator) -> Outcome:
        """See `Rule`."""
        rolled_back, total, harm = np.full(rollouts, np.nan), None, np.zeros(rollouts)
        for minute in range(24):
            weight = np.full(rollouts, (0.05, 0.10, 0.25, 0.50)[minute // 6])
            seen = _window(world, rng, 60.0 * minute, 60.0, weight)
            harm += np.where(np.isnan(rolled_back), seen.x1, 0)
            if total is not None:
                seen = Batch(seen.n0 + total.n0, seen.n1 + total.n1, seen.x0 + total.x0, seen.x1 + total.x1)
            total = seen
            if not self.once or minute == 23:
                rolled_back = np.where(np.isnan(rolled_back) & self.test(seen), 60.0 * (minute + 1), rolled_back)
        return Outcome(rolled_back, np.where(np.isnan(rolled_back), 1440.0, np.nan), harm)


def z_test(level: float) -> Callable[[Batch], Flags]:
    """The one-sided z test of two shares, pooled variance."""

    def worse(seen: Batch) -> Flags:
        n0, n1 = np.maximum(seen.n0, 1), np.maximum(seen.n1, 1)
        pooled = (seen.x0 + seen.x1) / (n0 + n1)
        deviation = np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / n0 + 1 / n1), 1e-300))
        return np.asarray((seen.x1 / n1 - seen.x0 / n0) / deviation > norm.isf(level))

    return worse


def msprt(level: float, tau: float = 0.01) -> Callable[[Batch], Flags]:
    """The mixture sequential probability ratio test of Johari et al., normal approximation, one side."""

    def worse(seen: Batch) -> Flags:
        n0, n1 = np.maximum(seen.n0, 1), np.maximum(seen.n1, 1)
        share0, share1 = seen.x0 / n0, seen.x1 / n1
        variance = share0 * (1 - share0) / n0 + share1 * (1 - share1) / n1
        difference = share1 - share0
        ok = variance > 0
        safe = np.where(ok, variance, 1.0)
        log_ratio = 0.5 * np.log(safe / (safe + tau**2)) + tau**2 * difference**2 / (2 * safe * (safe + tau**2))
        return np.asarray(ok & (difference > 0) & (log_ratio >= math.log(1 / level)))

    return worse


@dataclass(frozen=True, slots=True)
class Oracle:
    """Wald's test with both rates known, at every look: no test is faster on average at this level."""

    stable: float
    canary: float
    steps: tuple[float, ...] = (0.05, 0.10, 0.25, 0.50)

    def __call__(self, world: World, rollouts: int, rng: np.random.Generator) -> Outcome:
        """See `Rule`."""
        rolled_back, log_ratio = np.full(rollouts, np.nan), np.zeros(rollouts)
        for look in range(96):
            weight = np.full(rollouts, self.steps[min(look // 24, len(self.steps) - 1)])
            seen = world.batch(rng, (look + 1) * LOOK, weight)
            log_ratio += seen.x1 * math.log(self.canary / self.stable) + (seen.n1 - seen.x1) * math.log(
                (1 - self.canary) / (1 - self.stable)
            )
            found = np.isnan(rolled_back) & (log_ratio >= math.log(100))
            rolled_back = np.where(found, (look + 1) * LOOK, rolled_back)
        return Outcome(rolled_back, np.full(rollouts, np.nan))


@dataclass(frozen=True, slots=True)
class Kayenta:
    """Sixty minutes of canary and an equally large baseline, compared by Mann-Whitney at 98 % and an effect of 25 %."""

    points: int = 60

    def __call__(self, world: World, rollouts: int, rng: np.random.Generator) -> Outcome:
        """See `Rule`."""
        weight = np.full(rollouts, 0.10)
        canary, baseline, harm = [], [], np.zeros(rollouts)
        for minute in range(self.points):
            seen = _window(world, rng, 60.0 * minute, 60.0, weight)
            also = World("", world.rate, world.stable, world.stable, world.burst)
            other = _window(also, rng, 60.0 * minute, 60.0, weight)
            canary.append(seen.x1 / np.maximum(seen.n1, 1))
            baseline.append(other.x1 / np.maximum(other.n1, 1))
            harm += seen.x1
        a, b = np.array(canary), np.array(baseline)
        p = mannwhitneyu(a, b, alternative="greater", method="asymptotic").pvalue
        worse = (np.nan_to_num(p, nan=1.0) < 0.02) & (a.mean(axis=0) > 1.25 * b.mean(axis=0))
        end = 60.0 * self.points
        return Outcome(np.where(worse, end, np.nan), np.where(worse, np.nan, end), harm)


@dataclass(frozen=True, slots=True)
class EndOfSoak:
    """One comparison with the source after ten minutes at 10 %; an idle endpoint goes on ungated (Together)."""

    def __call__(self, world: World, rollouts: int, rng: np.random.Generator) -> Outcome:
        """See `Rule`."""
        seen = _window(world, rng, 0.0, 600.0, np.full(rollouts, 0.10))
        worse = seen.x1 / np.maximum(seen.n1, 1) > seen.x0 / np.maximum(seen.n0, 1) + 0.01
        return Outcome(np.where(worse, 600.0, np.nan), np.where(worse, np.nan, 600.0), seen.x1.astype(float))


TENS = (10.0, 20.0, 30.0, 40.0, 50.0)

RULES: dict[str, Rule] = {
    "Flagger, tutorial": Threshold(0.01, 60, 5, TENS, waits=True),
    "Flagger, threshold 1": Threshold(0.01, 60, 1, TENS, waits=True),
    "Flagger, docs (threshold 10, step 5)": Threshold(0.01, 60, 10, tuple(range(5, 51, 5)), waits=True),
    "Flagger, threshold 10, step 2": Threshold(0.01, 60, 10, tuple(range(2, 51, 2)), waits=True),
    "Argo Rollouts, docs": Threshold(0.05, 300, 4, (20, 40, 60, 80), windows=2),
    "Argo Rollouts, defaults (1 min, 99 %)": Threshold(0.01, 60, 1, (20, 40, 60, 80), windows=10),
    "OME": Threshold(0.01, 60, 4, (10,), windows=10, silence="pass"),
    "SageMaker alarm 1 of 1": Threshold(0.01, 60, 1, (10,), windows=10, silence="pass"),
    "SageMaker alarm 3 of 5": Threshold(0.01, 60, 3, (10,), windows=10, silence="pass", within=5),
    "Together, end of soak": EndOfSoak(),
    "Kayenta": Kayenta(),
    "z test, peeking, 5 %": Pooled(z_test(0.05)),
    "z test, once, 1 %": Pooled(z_test(0.01), once=True),
    "mSPRT, 1 %": Pooled(msprt(0.01)),
}


def _weights(at: float) -> float:
    return (0.05, 0.10, 0.25, 0.50)[min(int(at // 360), 3)]


def _quantile(counts: Counts, edges: Array, quantile: float) -> Array:
    """The edge that a quantile lies at; counts of shape (rollouts, buckets). NaN without any."""
    total = counts.sum(axis=-1)
    at = np.argmax(np.cumsum(counts, axis=-1) >= quantile * total[:, None], axis=-1)
    return np.where(total > 0, np.concatenate([edges, edges[-1:]])[at], np.nan)


def latency(world: Times, rollouts: int, rng: np.random.Generator) -> dict[str, Outcome]:
    """Limits on p99, and a Mann-Whitney test of everything so far, once a minute."""
    edges: Array = 0.05 * 1.05 ** np.arange(-60.0, 90.0)
    names = ("Flagger, p99 <= 500 ms", "p99 <= 1.2 x stable, limit 3", "Mann-Whitney, peeking, 1 %")
    found = {name: np.full(rollouts, np.nan) for name in names}
    strikes = {name: np.zeros(rollouts) for name in names}
    pooled0, pooled1 = (np.zeros((rollouts, len(edges) + 1), dtype=np.int64) for _ in range(2))
    for minute in range(24):
        weight = np.full(rollouts, _weights(60.0 * minute))
        batches = [world.batch(rng, 60.0 * minute + (at + 1) * LOOK, weight, edges) for at in range(4)]
        stable, canary = (np.sum([batch[arm] for batch in batches], axis=0) for arm in (0, 1))
        pooled0, pooled1 = pooled0 + stable, pooled1 + canary
        p99 = _quantile(canary, edges, 0.99)
        strikes[names[0]] += ~(p99 <= 0.5)
        strikes[names[1]] += ~(p99 <= 1.2 * _quantile(stable, edges, 0.99))
        for name, limit in ((names[0], 5), (names[1], 4)):
            found[name] = np.where(np.isnan(found[name]) & (strikes[name] >= limit), 60.0 * (minute + 1), found[name])
        worse = _mann_whitney(pooled0, pooled1) > norm.isf(0.01)
        found[names[2]] = np.where(np.isnan(found[names[2]]) & worse, 60.0 * (minute + 1), found[names[2]])
    return {name: Outcome(times, np.full(rollouts, np.nan)) for name, times in found.items()}


def _mann_whitney(stable: Counts, canary: Counts) -> Array:
    """The z value of "the canary's are larger", from counts by bucket."""
    n0, n1 = (counts.sum(axis=-1).astype(float) for counts in (stable, canary))
    below = np.cumsum(stable, axis=-1) - stable
    u = np.sum(canary * (below + stable / 2.0), axis=-1)
    deviation = np.sqrt(np.maximum(n0 * n1 * (n0 + n1 + 1) / 12, 1e-300))
    return np.asarray((u - n0 * n1 / 2) / deviation)


def predictions(world: Answers, rollouts: int, rng: np.random.Generator) -> dict[str, Outcome]:
    """A chi-square test of everything so far, once a minute, and PSI over 0.2, once in five minutes."""
    found = {name: np.full(rollouts, np.nan) for name in ("chi-square, peeking, 1 %", "PSI > 0.2 per 5 min")}
    pooled = [np.zeros((rollouts, 10), dtype=np.int64) for _ in range(2)]
    recent = [np.zeros((rollouts, 10), dtype=np.int64) for _ in range(2)]
    for minute in range(24):
        weight = np.full(rollouts, _weights(60.0 * minute))
        batches = [world.batch(rng, 60.0 * minute + (at + 1) * LOOK, weight) for at in range(4)]
        for arm in (0, 1):
            seen = np.sum([batch[arm] for batch in batches], axis=0)
            pooled[arm], recent[arm] = pooled[arm] + seen, recent[arm] + seen
        verdicts = {"chi-square, peeking, 1 %": _chi_square(*pooled) > 21.67}  # the 99 % point with 9 degrees
        if minute % 5 == 4:
            shares = [(arm + 0.5) / (arm.sum(axis=-1, keepdims=True) + 5.0) for arm in recent]
            psi = np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0]), axis=-1)
            verdicts["PSI > 0.2 per 5 min"] = psi > 0.2
            recent = [np.zeros_like(arm) for arm in recent]
        for name, verdict in verdicts.items():
            found[name] = np.where(np.isnan(found[name]) & verdict, 60.0 * (minute + 1), found[name])
    return {name: Outcome(times, np.full(rollouts, np.nan)) for name, times in found.items()}


def _chi_square(stable: Counts, canary: Counts) -> Array:
    both = stable + canary
    total = both.sum(axis=-1, keepdims=True)
    result = np.zeros(len(both))
    for arm in (stable, canary):
        expected = both * arm.sum(axis=-1, keepdims=True) / np.maximum(total, 1)
        result += np.sum(np.where(expected > 0, (arm - expected) ** 2 / np.maximum(expected, 1e-300), 0.0), axis=-1)
    return result
