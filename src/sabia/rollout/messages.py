"""A rollout in words: one sentence for a list, a few lines for whoever asks why."""

from __future__ import annotations

import math

from sabia.rollout.forecast import catches
from sabia.rollout.plan import Plan
from sabia.rollout.state import State, harm, odds, seen

__all__ = ["against", "duration", "odds", "phase", "seen", "sentence", "why"]

_NAMES = {
    "errors": "errors",
    "latency": "latency",
    "predictions": "predictions",
    "labels": "labels",
    "duration": "calls",
}


def phase(state: State) -> str:
    """The phase as people see it: paused and held are phases to them."""
    if state.ended:
        return state.phase
    if state.paused:
        return "paused"
    return "held" if state.held else state.phase


def sentence(plan: Plan, state: State) -> str:
    """Where a rollout stands, in one sentence."""
    if state.phase == "done":
        return f"promoted: {state.reason}."
    if state.phase == "rolled-back":
        return f"rolled back: {state.reason}."
    if state.phase in ("promoting", "rolling-back"):
        what = "promoting" if state.phase == "promoting" else "rolling back"
        return f"{what}: {state.paused or state.reason}."
    parts = []
    if state.problem:
        parts.append(f"nothing was concluded: {state.problem.rstrip('.')}")
    if state.paused:
        parts.append(state.paused)
    parts += list(state.held.values())
    if state.phase == "pending":
        return "; ".join(parts or ["waiting for the first look"]) + "."
    parts += [against(plan, state, version) for version in state.active]
    return "; ".join(parts) + "."


def against(plan: Plan, state: State, version: str) -> str:
    """The evidence against one canary and the threshold, with what failed."""
    lines = state.lines[version]
    limit = 1 / plan.harm.alpha
    return (
        f"{odds(harm(plan, lines))} to 1 against {version}; rolls back at {limit:,.0f} to 1; "
        f"{seen(plan, lines, 'errors')}"
    )


def why(plan: Plan, state: State, eta: float | None) -> list[str]:
    """Everything that the last decision rests on, a line each."""
    if state.step is None:
        return [sentence(plan, state)]
    weights = ", ".join(f"{version} {weight} %" for version, weight in state.wanted.items())
    confirmed = "in force" if state.wanted == state.confirmed else "not yet confirmed"
    found = [f"step {state.step + 1} of {len(plan.steps)}: {weights} ({confirmed})", sentence(plan, state)]
    for version in state.active:
        found += [f"  {line}" for line in _lines(plan, state, version)]
    if state.phase == "stepping":
        found += [_when(plan, state, eta), *_what_is_caught(plan, state)]
    return found


def _lines(plan: Plan, state: State, version: str) -> list[str]:
    lines = state.lines[version]
    step = state.step or 0
    margin = plan.margins[step]
    safe = math.exp(min(lines.errors.safe(margin), 50.0))
    most = f"at most {margin * 100:g} percentage points more of its requests fail"
    found = [f"safe: {safe:,.2g} to 1 that {most}; goes on at {1 / plan.safe.beta:,.0f} to 1"]
    found += [
        f"{_NAMES[name]}: {odds(log_e)} to 1; {seen(plan, lines, name)}" for name, log_e in lines.log_e(plan).items()
    ]
    phi = state.stable.phi
    if phi > 1:
        found.append(f"the stable's failures come in bursts: evidence is divided by {phi:.1f}")
    return found


def _when(plan: Plan, state: State, eta: float | None) -> str:
    if state.paused:
        return "no time can be said while it is paused"
    if eta is None:
        return "no time can be said: too little has been seen yet, or at this traffic it will not be known"
    left = "any look now" if eta <= plan.look_seconds else f"in about {duration(eta)}"
    return f"this step ends {left}, if the canary is as good as the stable"


def _what_is_caught(plan: Plan, state: State) -> list[str]:
    found = {ratio: catches(plan, state, ratio) for ratio in (2.0, 5.0, 20.0)}
    if not any(found.values()):
        return []
    parts = [f"x{ratio:g} {'in ' + duration(s) if s else 'not in time'}" for ratio, s in found.items()]
    return [f"at this traffic and weight a regression of the failures is caught: {', '.join(parts)}"]


def duration(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
