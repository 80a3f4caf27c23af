"""When a rollout will know: before it starts, and at every look.

What the next batches add on average is put into the tests themselves (`evidence.planning`), step by step as the plan
goes. Times are therefore times of a typical rollout, not promises; the benchmark compares them with simulated ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evidence import DifferenceTest
from evidence.odds import RATIOS
from evidence.planning import odds_growth
from evidence.wealth import Array, log_mean
from rollout.plan import Plan, seconds
from rollout.state import State

_LOOKS = 4096
_FLOOR = 1e-6
# A bet that the first failure loses: so much at every look is as good as minus infinity, and can be multiplied by none.
_RUIN = -1e6


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is expected of a model: requests a second that the split gets, and the share of them that fails today."""

    rate: float
    errors: float


def step_eta(plan: Plan, state: State) -> float | None:
    """Seconds until this step can end, if the canary is as good as the stable; None when that cannot be said."""
    if state.phase != "stepping" or state.step is None or not state.active:
        return None
    margin = plan.margins[state.step]
    found = 0.0
    for version in state.active:
        line = state.lines[version].errors
        requests = sum(state.shares.get(name, 0) for name in (plan.stable, version))
        looks = max(1, round(state.dwell / plan.look_seconds))
        if requests == 0:
            return None
        rate = (line.x0 + line.x1 + 0.5) / (line.n0 + line.n1 + 200)
        share = plan.steps[state.step] / (100 - plan.steps[state.step] * (len(state.active) - 1))
        growth = _within_growth(margin, requests / looks, share, rate)
        bets = line.within[f"{margin:g}"].thaw().bets
        needed = _looks_until(
            np.where(np.isneginf(bets) & (line.n1 == 0), 0.0, bets), growth, -math.log(plan.safe.beta)
        )
        if needed is None:
            return None
        found = max(found, needed * plan.look_seconds)
    return max(found, plan.dwell_seconds - state.dwell, 0.0)


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
        decision: "promoted", "rolled-back", or None when neither comes before the deadline.
        failed: requests that fail in the canary until then, beyond what would have failed in the stable.
        step: percent of the requests that it gets at that time.
    """

    seconds: float
    decision: str | None
    failed: float
    step: int


def forecast(plan: Plan, traffic: Traffic, canary_errors: float) -> Forecast:
    """Go through the plan with the batches that are expected, one look after the other."""
    n = traffic.rate * plan.look_seconds
    harm_at, safe_at = -math.log(plan.harm.alpha), -math.log(plan.safe.beta)
    null = plan.watch.errors.tolerance if plan.watch.errors else 1.0
    floor = plan.watch.errors.floor / 100 if plan.watch.errors else 0.0
    harm, failed, dwell, step = np.zeros(len(RATIOS)), 0.0, 0.0, 0
    guess = max(traffic.errors, _FLOOR)
    tests = {margin: DifferenceTest(margin) for margin in sorted(set(plan.margins))}
    within = {margin: np.zeros(1) for margin in tests}
    for look in range(1, int(seconds(plan.deadline) / plan.look_seconds) + 1):
        share = plan.steps[step] / 100
        n0, n1 = n * (1 - share), n * share
        failed += n1 * (canary_errors - traffic.errors)
        dwell += plan.look_seconds
        harm = harm + odds_growth(n, share, guess, canary_errors, null=null)
        for margin, test in tests.items():
            within[margin] = within[margin] + test.expected(n0, n1, traffic.errors * n0, canary_errors * n1, guess)
        if float(log_mean(harm)) >= harm_at and canary_errors > floor and _seen(n1 * look, canary_errors):
            return Forecast(look * plan.look_seconds, "rolled-back", failed, plan.steps[step])
        if dwell >= plan.dwell_seconds and float(log_mean(within[plan.margins[step]])) >= safe_at:
            step, dwell = step + 1, 0.0
            if step == len(plan.steps):
                return Forecast(look * plan.look_seconds, "promoted", failed, 100)
    return Forecast(math.inf, None, failed, plan.steps[step])


def _seen(requests: float, rate: float) -> bool:
    """Whether a failure is to be expected by now at all: evidence comes in whole failures."""
    return requests * rate >= math.log(2)
