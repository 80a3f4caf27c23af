"""What a rollout does next by the evidence: roll back, hold, advance, or promote. Pure functions of plan and state."""

from __future__ import annotations

import math

from sabia.rollout.counters import Scrape
from sabia.rollout.lines import Lines
from sabia.rollout.plan import Plan
from sabia.rollout.state import State, Verdict
from sabia.sequential import combine, e_benjamini_hochberg, sample_ratio_mismatch

# Evidence at which shares are taken not to follow their weights; it only holds.
_MISMATCH = math.log(1000)


def may_promote(plan: Plan, state: State) -> bool:
    """Whether the evidence lets a canary have every request.

    A canary advances when it is safe, the minimum dwell has passed, and nothing pauses or holds the rollout; after the
    last step it is promoted, if it is the only one left.
    """
    return at_last_step(plan, state) and len(state.active) == 1 and step_is_complete(plan, state)


def may_advance(plan: Plan, state: State) -> bool:
    """Whether the next step may start: an earlier step than the last is complete."""
    return not at_last_step(plan, state) and step_is_complete(plan, state)


def needs_choice(plan: Plan, state: State) -> bool:
    """Whether a person has to choose: the last step is complete, and several canaries are left."""
    return at_last_step(plan, state) and len(state.active) > 1 and step_is_complete(plan, state)


def step_is_complete(plan: Plan, state: State) -> bool:
    """Whether every canary left is safe, the dwell is over, and the rollout is neither paused nor held."""
    return every_canary_is_safe(state) and dwell_is_over(plan, state) and not (state.paused or state.held)


def at_last_step(plan: Plan, state: State) -> bool:
    """Whether the rollout is at the last step of its plan."""
    return state.phase == "Stepping" and state.step == len(plan.steps) - 1


def dwell_is_over(plan: Plan, state: State) -> bool:
    """Whether the step has lasted for the minimum dwell."""
    return state.phase == "Stepping" and state.step is not None and state.dwell >= plan.dwell_seconds


def every_canary_is_safe(state: State) -> bool:
    """Whether the last look's verdict of every canary that gets requests is safe."""
    return all(state.verdicts.get(version) == "safe" for version in state.active)


def verdict(plan: Plan, state: State, version: str, worse: dict[str, str]) -> Verdict:
    """The verdict on one canary; `worse` are the canaries to be rolled back."""
    if version in worse:
        return "harm"
    return "safe" if is_safe(plan, state, version) else "undecided"


def is_safe(plan: Plan, state: State, version: str) -> bool:
    """Whether a canary is within the margin of this step."""
    step = state.step or 0
    return state.lines[version].errors.safe(plan.margins[step]) >= -math.log(plan.safe.beta)


def line_weights(plan: Plan) -> dict[str, float]:
    """The share of each line that may roll back in the combined evidence: errors half, the others the other half."""
    watch = plan.watch
    others = [
        name
        for name, rules in (("latency", watch.latency), ("labels", watch.labels), ("refusals", watch.refusals))
        if rules and rules.on_harm == "roll-back"
    ]
    if watch.predictions is not None and watch.predictions.on_shift == "roll-back":
        others.append("predictions")
    return {"errors": 0.5 if others else 1.0} | {name: 0.5 / len(others) for name in others}


def harm(plan: Plan, lines: Lines) -> float:
    """Log of the evidence of harm, all lines that may roll back combined."""
    log_e, weights = lines.log_e(plan), line_weights(plan)
    return combine({name: log_e[name] for name in weights}, weights)


def harmful_canaries(plan: Plan, state: State) -> list[str]:
    """The active canaries whose evidence of harm is enough, at a false discovery rate of alpha."""
    evidence = {version: harm(plan, state.lines[version]) for version in state.active}
    return e_benjamini_hochberg(evidence, plan.harm.alpha)


def canaries_that_cannot_serve(plan: Plan, state: State, scrape: Scrape) -> list[str]:
    """The active canaries that cannot serve while the version they are compared with can."""
    if {plan.stable, plan.compared} & set(scrape.trouble):
        return []
    return [version for version in state.active if version in scrape.trouble]


def mismatched_counts(state: State) -> dict[str, int] | None:
    """Requests by version if they do not follow the confirmed weights (sample ratio mismatch), else None."""
    counts = {version: state.shares.get(version, 0) for version, weight in state.desired.items() if weight > 0}
    if len(counts) < 2 or state.confirmed != state.desired:
        return None
    shares = [state.desired[version] / 100 for version in counts]
    return counts if sample_ratio_mismatch(list(counts.values()), shares) >= _MISMATCH else None


def lines_that_hold(plan: Plan, lines: Lines) -> dict[str, float]:
    """Log of the evidence of each line that may only hold, and has enough of it."""
    limit = -math.log(plan.harm.alpha)
    rolls_back = line_weights(plan)
    return {name: log_e for name, log_e in lines.log_e(plan).items() if name not in rolls_back and log_e >= limit}
