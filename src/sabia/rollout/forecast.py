"""When a rollout will decide: an estimate before it starts, and at every look.

Before it starts, a typical course of events is put into the tests themselves, step by step as the plan goes; while it
runs, evidence is taken to grow as it does on average (`sabia.sequential.planning`). Times are those of a typical
rollout, not promises; the benchmark compares them with simulated ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sabia.rollout.plan import Plan, seconds
from sabia.rollout.state import Phase, State
from sabia.sequential import Batch, DifferenceTest, OddsTest
from sabia.sequential.planning import odds_growth
from sabia.sequential.wealth import Array, log_mean

_LOOKS = 4096
# A batch of a forecast has at least this many requests, or this many looks.
_FEW, _TOGETHER = 10.0, 60
# A bet that the first failure loses: so much at every look is as good as minus infinity, and can be multiplied by none.
_RUIN = -1e6


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is expected of a model: requests a second that the split gets, and the share of them that fails today."""

    rate: float
    errors: float


def step_eta(plan: Plan, state: State) -> float | None:
    """Seconds until this step can end, if the canary is as good as the stable; None when that cannot be said."""
    if state.phase != "Stepping" or state.step is None or not state.active:
        return None
    margin = plan.margins[state.step]
    found = 0.0
    for version in state.active:
        line = state.lines[version].errors
        requests = sum(state.shares.get(name, 0) for name in (plan.compared, version))
        looks = max(1, round(state.dwell / plan.look_seconds))
        if requests == 0:
            return None
        rate = (line.x0 + line.x1 + 0.5) / (line.n0 + line.n1 + 200)
        share = _share(plan, state.step)
        growth = _within_growth(margin, requests / looks, share, rate)
        bets = line.within[f"{margin:g}"].unpack().bets
        needed = _looks_until(
            np.where(np.isneginf(bets) & (line.n1 == 0), 0.0, bets), growth, -math.log(plan.safe.beta)
        )
        if needed is None:
            return None
        found = max(found, needed * plan.look_seconds)
    return max(found, plan.dwell_seconds - state.dwell, 0.0)


def _share(plan: Plan, step: int) -> float:
    """Of the requests that are compared, those of one canary."""
    stable, canary = plan.shares(step)
    return canary / (stable + canary)


def _within_growth(margin: float, n: float, share: float, rate: float) -> Array:
    """What a batch of n requests adds to each bet that the canary is within a margin, if both arms fail at `rate`."""
    test = DifferenceTest(margin)
    n0, n1 = n * (1 - share), n * share
    return test.expected(n0, n1, rate * n0, rate * n1, rate)


def _looks_until(bets: Array, growth: Array, threshold: float) -> int | None:
    looks = np.arange(_LOOKS + 1)[:, None]
    growth = np.maximum(growth, _RUIN)
    reached = np.flatnonzero(log_mean(bets + looks * growth) >= threshold)
    return int(reached[0]) if len(reached) else None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be expected of one canary.

    Attributes:
        seconds: until the rollout is decided.
        end: Promoted, RolledBack, or None if neither comes before the deadline.
        failed: requests that fail in the canary until then, beyond what would have failed in the stable.
        step: percent of the requests that it gets at that time.
    """

    seconds: float
    end: Phase | None
    failed: float
    step: int


def forecast(plan: Plan, traffic: Traffic, canary_errors: float) -> Forecast:
    """Go through the plan on its most typical path: after every look, both arms have the median number of failures.

    That number is the integer part of the mean and a third (Choi, "On the medians of gamma distributions", 1994): with
    few failures to be expected there is none at all for a long time, and evidence comes in whole ones.
    """
    if traffic.rate == 0:
        return Forecast(math.inf, None, 0.0, plan.steps[0])
    rules = plan.watch.errors
    test, tests = (
        OddsTest(null=rules.tolerance),
        {margin: DifferenceTest(margin) for margin in sorted(set(plan.margins))},
    )
    harm, within = test.start(), {margin: each.start() for margin, each in tests.items()}
    mean, seen = np.zeros(4), np.zeros(4, dtype=np.int64)
    dwell, step = 0.0, 0
    # Where a look brings a request or two, several of them are taken together: it is the same evidence, sooner said.
    looks = max(1, min(_TOGETHER, int(_FEW // (traffic.rate * plan.look_seconds))))
    span = looks * plan.look_seconds
    for at in np.arange(1, min(round(seconds(plan.deadline) / span), _LOOKS) + 1) * span:
        n0, n1 = np.array(plan.shares(step)) * traffic.rate * span
        mean += (n0, n1, n0 * traffic.errors, n1 * canary_errors)
        now = np.floor(mean + np.array([0.5, 0.5, 1 / 3, 1 / 3])).astype(np.int64)
        now[2:] = np.minimum(now[2:], now[:2])
        counts = now - seen
        counts[2:] = np.minimum(counts[2:], counts[:2])
        seen += counts
        if counts.any():
            batch = Batch.single(*counts.tolist())
            guess = (seen[2] + 0.5) / (seen[0] + 200.0)
            harm = test.update(harm, batch)
            within = {margin: tests[margin].update(wealth, batch, guess) for margin, wealth in within.items()}
        dwell += span
        failed = float(mean[3] - mean[1] * traffic.errors)
        if float(harm.log_e) >= -math.log(plan.harm.alpha) and seen[3] > rules.floor / 100 * seen[1]:
            return Forecast(float(at), "RolledBack", failed, plan.steps[step])
        if dwell >= plan.dwell_seconds and float(within[plan.margins[step]].log_e) >= -math.log(plan.safe.beta):
            step, dwell = step + 1, 0.0
            if step == len(plan.steps):
                return Forecast(float(at), "Promoted", failed, 100)
    failed = float(mean[3] - mean[1] * traffic.errors)
    return Forecast(math.inf, None, failed, plan.steps[min(step, len(plan.steps) - 1)])


def catches(plan: Plan, state: State, ratio: float) -> float | None:
    """Seconds until a canary with `ratio` times the failures of the stable would be detected, at this weight.

    None if it would not, or there is no estimate yet.
    """
    if state.step is None or not state.active:
        return None
    line = state.lines[state.active[0]].errors
    requests = state.shares.get(plan.compared, 0) + state.shares.get(state.active[0], 0)
    looks = round(state.dwell / plan.look_seconds)
    if requests == 0 or looks == 0 or line.n0 == 0:
        return None
    share, stable = _share(plan, state.step), (line.x0 + 0.5) / (line.n0 + 1)
    growth = odds_growth(requests / looks, share, stable, min(ratio * stable, 1.0))
    bets = np.maximum(line.harm.unpack().bets, _RUIN)
    needed = _looks_until(bets, growth, -math.log(plan.harm.alpha))
    return None if needed is None else max(needed, 1) * plan.look_seconds
