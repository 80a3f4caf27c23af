"""A rollout in words: one line for a list, and a few lines that explain the last decision."""

from __future__ import annotations

import math
from typing import Literal

from sabia.rollout.decision import harm, line_weights
from sabia.rollout.forecast import catches
from sabia.rollout.lines import Lines
from sabia.rollout.plan import Plan
from sabia.rollout.state import State

Condition = Literal["Paused", "Held"]

_NAMES = {
    "errors": "errors",
    "latency": "latency",
    "predictions": "predictions",
    "labels": "labels",
    "refusals": "refusals",
    "duration": "requests",
}
_HOLDING = {
    "predictions": "{version}'s predictions differ by more than the budget allows, {odds} to 1",
    "latency": "{version} takes longer to predict, {odds} to 1",
    "labels": "{version} is wrong more often, {odds} to 1",
    "refusals": "{version} refuses more requests, {odds} to 1",
    "duration": (
        "requests to {version} take more than twice as long, {odds} to 1; the prediction itself is compared separately"
    ),
}


def conditions(state: State) -> list[Condition]:
    """What keeps a rollout that is not over from advancing: it is paused, held, or both."""
    if state.ended:
        return []
    holding: list[tuple[Condition, object]] = [("Paused", state.paused), ("Held", state.held)]
    return [name for name, reason in holding if reason]


def label(state: State) -> str:
    """The phase with its conditions, such as `Stepping (Paused)`."""
    found = conditions(state)
    return f"{state.phase} ({', '.join(found)})" if found else state.phase


def summarize(plan: Plan, state: State) -> str:
    """Where a rollout stands, in one line."""
    match state.phase:
        case "Promoted":
            return f"promoted: {state.reason}."
        case "RolledBack":
            return f"rolled back: {state.reason}."
        case "Promoting":
            return f"promoting: {state.paused or state.reason}."
        case "RollingBack":
            return f"rolling back: {state.paused or state.reason}."
    parts = []
    if state.problem:
        parts.append(f"nothing was concluded: {state.problem.rstrip('.')}")
    if state.paused:
        parts.append(state.paused)
    parts += list(state.held.values())
    if state.phase == "Pending":
        return "; ".join(parts or ["waiting for the first look"]) + "."
    parts += [evidence_against(plan, state, version) for version in state.active]
    return "; ".join(parts) + "."


def evidence_against(plan: Plan, state: State, version: str) -> str:
    """The evidence against one canary and the threshold, with the failed requests."""
    lines = state.lines[version]
    limit = 1 / plan.harm.alpha
    return (
        f"{odds(harm(plan, lines))} to 1 against {version}; rolls back at {limit:,.0f} to 1; "
        f"{describe_line(plan, lines, 'errors')}"
    )


def why_harmful(plan: Plan, state: State, version: str) -> str:
    """The evidence of harm, with the counts of the line that contributes most."""
    lines = state.lines[version]
    weights, log_e = line_weights(plan), lines.log_e(plan)
    worst = max(sorted(weights), key=lambda name: log_e[name] + math.log(weights[name]))
    against = f"{odds(harm(plan, lines))} to 1 against {version}"
    return f"{against}: {describe_line(plan, lines, worst)}"


def why_held(name: str, version: str, log_e: float) -> str:
    """Why a line holds the rollout."""
    return _HOLDING[name].format(version=version, odds=odds(log_e))


def odds(log_e: float) -> str:
    """Evidence as odds to 1."""
    if log_e > math.log(1e6):
        return "over a million"
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def describe_line(plan: Plan, lines: Lines, name: str) -> str:
    """What a line has counted."""
    if name == "errors":
        line = lines.errors
        return f"{line.x1:,} of {line.n1:,} canary against {line.x0:,} of {line.n0:,} stable requests failed"
    if name == "refusals" and lines.refusals is not None:
        each = lines.refusals
        return f"{each.x1:,} of {each.n1:,} canary against {each.x0:,} of {each.n0:,} stable requests were refused"
    if name == "labels" and lines.labels is not None:
        truth = lines.labels
        limit = None if plan.watch.labels is None else plan.watch.labels.largest_error
        wrong = "were wrong" if limit is None else f"were wrong by more than {limit:g}"
        return f"{truth.x1:,} of {truth.n1:,} canary against {truth.x0:,} of {truth.n0:,} stable predictions {wrong}"
    if name == "predictions" and lines.predictions is not None:
        budget = plan.watch.predictions.budget if plan.watch.predictions else 0.0
        return f"predictions differ by {lines.predictions.distance:.2f} of total variation; the budget is {budget:g}"
    times = lines.duration if name == "duration" else lines.latency
    what = "requests" if name == "duration" else "predictions"
    if times is None or times.n1 == 0 or times.n0 == 0:
        return f"no {what} were timed in both arms yet"
    at = max(range(len(times.bets)), key=lambda at: times.bets[at].log_e)
    shares = f"{times.over1[at] / times.n1:.1%} of canary against {times.over0[at] / times.n0:.1%} of stable"
    return f"{shares} {what} took longer than {times.thresholds[at] * 1000:.3g} ms (of the canary: past the tolerance)"


def explain(plan: Plan, state: State, eta: float | None) -> list[str]:
    """Everything that the last decision is based on, a line each."""
    if state.step is None:
        return [summarize(plan, state)]
    weights = ", ".join(f"{version} {weight} %" for version, weight in state.desired.items())
    confirmed = "in force" if state.desired == state.confirmed else "not yet confirmed"
    lines = [f"step {state.step + 1} of {len(plan.steps)}: {weights} ({confirmed})", summarize(plan, state)]
    for version in state.active:
        lines += [f"  {line}" for line in _explain_canary(plan, state, version)]
    if state.phase == "Stepping":
        lines += [_time_left(plan, state, eta), *_detectable(plan, state)]
    return lines


def _explain_canary(plan: Plan, state: State, version: str) -> list[str]:
    lines = state.lines[version]
    margin = plan.margins[state.step or 0]
    safe = math.exp(min(lines.errors.safe(margin), 50.0))
    most = f"at most {margin * 100:g} percentage points more of its requests fail"
    found = [f"safe: {safe:,.2g} to 1 that {most}; advances at {1 / plan.safe.beta:,.0f} to 1"]
    found += [
        f"{_NAMES[name]}: {odds(log_e)} to 1; {describe_line(plan, lines, name)}"
        for name, log_e in lines.log_e(plan).items()
    ]
    phi = state.stable.phi
    if phi > 1:
        found.append(f"the stable version's failures come in bursts: evidence is divided by {phi:.1f}")
    return found


def _time_left(plan: Plan, state: State, eta: float | None) -> str:
    if state.paused:
        return "no estimate while it is paused"
    if eta is None:
        return "no estimate: too few requests so far, or too few at this traffic to ever decide"
    left = "at the next look" if eta <= plan.look_seconds else f"in about {duration(eta)}"
    return f"this step ends {left}, if the canary is as good as the stable version"


def _detectable(plan: Plan, state: State) -> list[str]:
    seconds = {ratio: catches(plan, state, ratio) for ratio in (2.0, 5.0, 20.0)}
    if not any(seconds.values()):
        return []
    parts = [f"x{ratio:g} {'in ' + duration(s) if s else 'not in time'}" for ratio, s in seconds.items()]
    return [f"at this traffic and weight, a higher failure rate is detected: {', '.join(parts)}"]


def duration(seconds: float) -> str:
    """A duration for people, such as `45 s`, `12 min`, `1.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
