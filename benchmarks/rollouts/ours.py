"""Our rule for many rollouts at once: the same tests of `evidence`, the same steps as `rollout.state`.

`tests/benchmarks` feeds the same batches to the engine and compares the evidence at every look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.rollouts.worlds import LOOK, Answers, Array, Counts, Times, World
from sabia.rollout.lines.stable import _FORGETTING as FORGETTING
from sabia.rollout.plan import Plan, from_mapping
from sabia.sequential import Batch, Categories, DifferenceTest, Dispersion, Memory, OddsTest, shifted
from sabia.sequential.latency import RATIOS as LATENCY_RATIOS

Flags = NDArray[np.bool_]


def a_plan(**changed: object) -> Plan:
    """A plan that watches errors alone, so that all of alpha is theirs."""
    return from_mapping({"model": "m", "stable": "1.0", "canary": "2.0", "watch": {"errors": {}}} | changed)


@dataclass(slots=True)
class Outcome:
    """What became of each rollout; times in seconds, NaN where it did not happen."""

    rolled_back: Array
    promoted: Array
    failed: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def is_rolled_back(self) -> Flags:
        """Which ones."""
        return ~np.isnan(self.rolled_back)

    @property
    def is_promoted(self) -> Flags:
        """Which ones."""
        return ~np.isnan(self.promoted)


def errors(
    world: World,
    rollouts: int,
    rng: np.random.Generator,
    plan: Plan | None = None,
    *,
    timer: bool = False,
    horizon: float = 1440.0,
    history: int = 0,
) -> Outcome:
    """Roll out by failing requests.

    Args:
        world: what happens.
        rollouts: how many at once.
        rng: chance.
        plan: see `a_plan`.
        timer: go to the next step by the dwell alone, and never promote: every rollout is exposed for the whole time.
        horizon: seconds after which it stops.
        history: looks at the stable before the rollout, which its dispersion is known from.
    """
    plan = plan or a_plan()
    rules = plan.watch.errors
    test, wealth = OddsTest(null=rules.tolerance), OddsTest(null=rules.tolerance).start(rollouts)
    margins = sorted(set(plan.margins))
    within = {margin: DifferenceTest(margin).start(rollouts) for margin in margins}
    dispersion = Dispersion.start(rollouts)
    if history:
        for n, x in zip(*world.history(rng, rollouts, history), strict=True):
            dispersion = dispersion.update(n, x)
    step, dwell = np.zeros(rollouts, dtype=np.int64), np.zeros(rollouts)
    steps, margin_of = np.array(plan.steps) / 100, np.array(plan.margins)
    seen, failed, n1, x1 = (np.zeros(rollouts) for _ in range(4))
    rolled_back, promoted = np.full(rollouts, np.nan), np.full(rollouts, np.nan)
    running = np.ones(rollouts, dtype=bool)
    for look in range(1, round(horizon / LOOK) + 1):
        batch = world.batch(rng, look * LOOK, steps[step])
        phi, guess = dispersion.phi, (failed + 0.5) / (seen + 200.0)
        wealth = test.update(wealth, batch, phi)
        for margin in margins:
            within[margin] = DifferenceTest(margin).update(within[margin], batch, guess, phi)
        dispersion = dispersion.update(batch.n0, batch.x0)
        seen, failed = seen * FORGETTING + batch.n0, failed * FORGETTING + batch.x0
        n1, x1 = n1 + np.where(running, batch.n1, 0), x1 + np.where(running, batch.x1, 0)
        dwell += LOOK
        harm = running & (wealth.log_e >= -math.log(plan.harm.alpha)) & (x1 > rules.floor / 100 * n1)
        rolled_back[harm] = look * LOOK
        running &= ~harm
        if timer:
            ready = running & (dwell >= plan.dwell_seconds) & (step + 1 < len(steps))
        else:
            evidence = np.stack([within[margin].log_e for margin in margins], axis=-1)
            at = np.searchsorted(margins, margin_of[step])
            safe = np.take_along_axis(evidence, at[:, None], axis=-1)[:, 0] >= -math.log(plan.safe.beta)
            ready = running & safe & (dwell >= plan.dwell_seconds)
            done = ready & (step + 1 == len(steps))
            promoted[done] = look * LOOK
            running &= ~done
            ready &= ~done
        step[ready] += 1
        dwell[ready] = 0
        if not running.any():
            break
    return Outcome(rolled_back, promoted, x1)


def log_e_by_look(world: World, looks: int, weight: float, seed: int) -> tuple[list[tuple[int, ...]], list[float]]:
    """The batches of one rollout at one weight, and the evidence after each; for comparing with the engine."""
    rng, test = np.random.default_rng(seed), OddsTest()
    wealth, dispersion, batches, found = test.start(1), Dispersion.start(1), [], []
    for look in range(1, looks + 1):
        batch = world.batch(rng, look * LOOK, np.array([weight]))
        wealth = test.update(wealth, batch, dispersion.phi)
        dispersion = dispersion.update(batch.n0, batch.x0)
        batches.append(tuple(int(count[0]) for count in (batch.n0, batch.n1, batch.x0, batch.x1)))
        found.append(float(wealth.log_e[0]))
    return batches, found


def latency(
    world: Times,
    rollouts: int,
    rng: np.random.Generator,
    *,
    steps: tuple[float, ...] = (0.05, 0.10, 0.25, 0.50),
    dwell: float = 360.0,
    tolerance: float = 1.0,
    warm_up: float = 60.0,
    quantiles: tuple[float, ...] = (0.5, 0.9, 0.99),
    horizon: float = 1440.0,
) -> Outcome:
    """Watch decisions' times through steps that a timer takes; `warm_up` only where the world has a cold start."""
    # Only edges that a time can be near: the rest would be empty columns.
    edges: Array = 0.05 * 1.05 ** np.arange(-60.0, 90.0)
    test = OddsTest(ratios=LATENCY_RATIOS)
    bets = [test.start(rollouts) for _ in quantiles]
    memory = Memory.start(world.before(rng, rollouts, edges))
    rolled_back = np.full(rollouts, np.nan)
    for look in range(1, round(horizon / LOOK) + 1):
        at = look * LOOK
        weight = steps[min(int((at - LOOK) // dwell), len(steps) - 1)]
        stable, canary = world.batch(rng, at, np.full(rollouts, weight), edges)
        if world.cold and at <= warm_up:
            canary = np.zeros_like(canary)
        for number, quantile in enumerate(quantiles):
            over = memory.threshold(quantile)
            batch = _over(stable, canary, over, edges, tolerance)
            bets[number] = test.update(bets[number], batch)
        memory = memory.update(stable)
        log_e = np.stack([wealth.log_e for wealth in bets], axis=-1)
        top = log_e.max(axis=-1)
        average = top + np.log(np.exp(log_e - top[:, None]).mean(axis=-1))
        rolled_back = np.where(np.isnan(rolled_back) & (average >= math.log(100)), at, rolled_back)
        if not np.isnan(rolled_back).any():
            break
    return Outcome(rolled_back, np.full(rollouts, np.nan))


def _over(stable: Counts, canary: Counts, over: Counts, edges: Array, tolerance: float) -> Batch:
    """`evidence.exceedance` with a threshold of its own for each rollout."""
    shift = np.array([shifted(at, tuple(edges), tolerance=tolerance, slack=0.0) for at in range(len(edges) + 1)])
    columns = np.arange(stable.shape[1])
    above0 = columns > over[:, None]
    above1 = columns > shift[over][:, None]
    return Batch(
        stable.sum(axis=-1), canary.sum(axis=-1), (stable * above0).sum(axis=-1), (canary * above1).sum(axis=-1)
    )


def predictions(
    world: Answers,
    rollouts: int,
    rng: np.random.Generator,
    *,
    steps: tuple[float, ...] = (0.05, 0.10, 0.25, 0.50),
    dwell: float = 360.0,
    horizon: float = 1440.0,
) -> Outcome:
    """Watch predictions for any shift at all (a budget of 0) through steps that a timer takes."""
    evidence = Categories.start(10, rollouts)
    rolled_back = np.full(rollouts, np.nan)
    for look in range(1, round(horizon / LOOK) + 1):
        at = look * LOOK
        weight = steps[min(int((at - LOOK) // dwell), len(steps) - 1)]
        evidence = evidence.update(*world.batch(rng, at, np.full(rollouts, weight)))
        found = evidence.log_e >= math.log(100)
        rolled_back = np.where(np.isnan(rolled_back) & found, at, rolled_back)
        if not np.isnan(rolled_back).any():
            break
    return Outcome(rolled_back, np.full(rollouts, np.nan))
