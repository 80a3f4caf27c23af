"""How an event changes the state of a rollout: a pure function, so that a replay decides the same.

Nothing here reads a clock: time is what looks report has passed.
"""

from __future__ import annotations

from sabia.rollout import decision, summary
from sabia.rollout.counters import Arm, Scrape, difference, total
from sabia.rollout.events import Acted, Event, Looked, Moved, Started
from sabia.rollout.lines import Look
from sabia.rollout.plan import Plan, seconds
from sabia.rollout.state import Phase, State

# After a move, this many consecutive looks must find no request at the versions that get none.
QUIET = 2


def advance(plan: Plan, state: State, event: Event) -> State:
    """The state after an event."""
    if state.ended or isinstance(event, Started):
        return state
    if isinstance(event, Acted):
        return _acted(plan, state, event)
    if isinstance(event, Moved):
        return _moved(state, event)
    return _looked(plan, state, event)


def _acted(plan: Plan, state: State, event: Acted) -> State:
    if event.action == "pause":
        return state.replace(paused=f"paused by {event.actor}")
    if event.action == "resume":
        # Weights that were changed by hand become the rollout's again.
        desired = _desired_weights(plan, state)
        accepted = sorted({*state.accepted, *state.held})
        return state.replace(paused=None, held={}, accepted=accepted, shares={}, desired=desired)
    if event.action == "abort":
        return _roll_back(plan, state, f"aborted by {event.actor}")
    version = event.version or (state.active[0] if len(state.active) == 1 else None)
    if version not in state.active or state.phase not in ("Pending", "Stepping"):
        return state.replace(problem=f"promote by {event.actor} was not possible")
    return _promote(plan, state, version, f"promoted by {event.actor}")


def _desired_weights(plan: Plan, state: State) -> dict[str, int]:
    """The weights of the phase."""
    if state.phase == "Promoting":
        return dict.fromkeys(plan.versions, 0) | {state.active[0]: 100}
    if state.phase == "Pending":
        return state.desired
    return plan.weights(state.step if state.phase == "Stepping" else None, state.active)


def _moved(state: State, event: Moved) -> State:
    if event.weights != state.desired:
        return state
    moved = state.replace(confirmed=event.weights, baseline=event.scrape, shares={}, quiet=0, problem=None)
    return moved if event.scrape is None else moved.replace(ages=_ages(state, event.scrape, 0.0))


def _looked(plan: Plan, state: State, event: Looked) -> State:
    if event.scrape is None or event.weights is None:
        return state.replace(problem=event.problem or "there are no counters")
    state = state.replace(problem=event.problem)
    if state.confirmed is None:
        desired = event.weights if state.phase == "Pending" else state.desired
        state = state.replace(confirmed=event.weights, desired=desired)
    if event.weights not in (state.confirmed, state.desired):
        return _changed_by_hand(state, event.weights, event.scrape)
    if state.phase == "Pending":
        return _try_first_step(plan, state, event.scrape, event.elapsed)
    if state.baseline is None or event.weights != state.confirmed:
        # Nothing to count from; or the desired weights came into force unconfirmed, some time since the last look.
        ages = _ages(state, event.scrape, event.elapsed)
        return state.replace(confirmed=event.weights, baseline=event.scrape, ages=ages, shares={}, quiet=0)
    state, arms = _with_batch(plan, state, event.scrape, state.baseline, event.elapsed)
    return _decide(plan, state, event.scrape, arms)


def _changed_by_hand(state: State, weights: dict[str, int], scrape: Scrape) -> State:
    shown = ", ".join(f"{version} {weight}" for version, weight in sorted(weights.items()))
    reason = f"the weights were changed to {shown}, and not by this rollout"
    return state.replace(paused=reason, confirmed=weights, desired=weights, baseline=scrape, shares={})


def _with_batch(
    plan: Plan, state: State, scrape: Scrape, baseline: Scrape, elapsed: float
) -> tuple[State, dict[str, Arm]]:
    """The state with the evidence of one more batch, and the batch: each version's arm."""
    ages = _ages(state, scrape, elapsed)
    cold = {version: _cold(plan, replicas) for version, replicas in ages.items()}
    arms = {
        version: difference(baseline, scrape, version, cold=cold.get(version, frozenset())) for version in plan.versions
    }
    lines = {
        version: evidence.update(plan, Look(arms[plan.compared], arms[version], state.stable))
        if version in state.active and state.phase == "Stepping"
        else evidence
        for version, evidence in state.lines.items()
    }
    shares = {version: state.shares.get(version, 0) + arm.responses for version, arm in arms.items()}
    passed = _passed(plan, elapsed)
    updated = state.replace(
        lines=lines,
        stable=state.stable.update(arms[plan.compared]),
        baseline=scrape,
        ages=ages,
        shares=shares,
        dwell=state.dwell + passed,
        elapsed=state.elapsed + passed,
    )
    return updated, arms


def _try_first_step(plan: Plan, state: State, scrape: Scrape, elapsed: float) -> State:
    """Start the first step once every version can serve."""
    no_replica = "it has no replica"
    missing = {v: scrape.trouble.get(v) or ("" if scrape.arms.get(v) else no_replica) for v in plan.versions}
    waiting = {f"ready {version}": f"{version} is not ready: {why}" for version, why in missing.items() if why}
    state = state.replace(elapsed=state.elapsed + _passed(plan, elapsed), held=waiting)
    if waiting or state.paused:
        return _at_deadline(plan, state)
    # Replicas of the stable that ran before the rollout are warm; all others have to become so.
    warm = dict.fromkeys(scrape.arms[plan.stable], seconds(plan.warm_up))
    ages = {version: dict.fromkeys(scrape.arms[version], 0.0) for version in plan.canaries}
    stable = state.stable.with_history(
        total(scrape, plan.stable, "decision").astype(float), total(scrape, plan.stable, "duration").astype(float)
    )
    return state.replace(
        phase="Stepping",
        step=0,
        desired=plan.weights(0),
        stable=stable,
        baseline=scrape,
        ages={plan.stable: warm} | ages,
    )


def _decide(plan: Plan, state: State, scrape: Scrape, arms: dict[str, Arm]) -> State:
    """What follows from a look."""
    if state.phase == "Stepping":
        return _decide_step(plan, state, scrape)
    if state.paused is not None:
        return state
    if state.phase == "RollingBack":
        return _settle(state, _requests(arms, without=plan.stable), "RolledBack")
    (canary,) = state.active
    if canary in scrape.trouble:
        return _roll_back(plan, state, f"{canary} cannot serve: {scrape.trouble[canary]}")
    return _settle(state, _requests(arms, without=canary), "Promoted")


def _decide_step(plan: Plan, state: State, scrape: Scrape) -> State:
    worse = {version: summary.why_harmful(plan, state, version) for version in decision.harmful_canaries(plan, state)}
    for version in decision.canaries_that_cannot_serve(plan, state, scrape):
        worse[version] = f"{version} cannot serve: {scrape.trouble[version]}"
    verdicts = {version: decision.verdict(plan, state, version, worse) for version in state.active}
    state = state.replace(verdicts=state.verdicts | verdicts, held=_reasons_to_hold(plan, state, scrape))
    worsening = state.stable.worsening
    if worse:
        return _without(plan, state, worse)
    if worsening is not None and state.paused is None and "worsening" not in state.accepted:
        reason = f"{plan.stable} is worse than it was: {worsening}"
        return state.replace(paused=reason, accepted=[*state.accepted, "worsening"])
    if decision.may_promote(plan, state):
        return _promote(plan, state, state.active[0], f"{state.active[0]} is safe at every step")
    if decision.may_advance(plan, state):
        step = (state.step or 0) + 1
        return state.replace(step=step, dwell=0.0, desired=plan.weights(step, state.active))
    if decision.needs_choice(plan, state):
        safe = " and ".join(state.active)
        return state.replace(held={"choice": f"{safe} are safe; choose with `sabia rollout promote --version`"})
    return _at_deadline(plan, state)


def _reasons_to_hold(plan: Plan, state: State, scrape: Scrape) -> dict[str, str]:
    """By kind, what a person must judge before the rollout goes on; without what one has accepted."""
    reasons: dict[str, str] = {}
    for version in state.active:
        for name, log_e in decision.lines_that_hold(plan, state.lines[version]).items():
            reasons[f"{name} {version}"] = summary.why_held(name, version, log_e)
    # In the plan's order: the record must be the same, bit for bit, in every process.
    for version in dict.fromkeys((plan.stable, plan.compared)):
        if version in scrape.trouble:
            reasons[f"serving {version}"] = f"{version} cannot serve: {scrape.trouble[version]}"
    if (counts := decision.mismatched_counts(state)) is not None:
        shown = ", ".join(f"{version} {count:,}" for version, count in counts.items())
        reasons["shares"] = f"requests do not follow the weights ({shown}); routing is broken, not the model"
    return {kind: text for kind, text in reasons.items() if kind not in state.accepted}


def _promote(plan: Plan, state: State, version: str, reason: str) -> State:
    everything = dict.fromkeys(plan.versions, 0) | {version: 100}
    return state.replace(phase="Promoting", desired=everything, active=[version], paused=None, held={}, reason=reason)


def _without(plan: Plan, state: State, worse: dict[str, str]) -> State:
    """Without the canaries that are worse; without any left, the rollout rolls back."""
    reason = "; ".join(worse[version] for version in sorted(worse))
    active = [version for version in state.active if version not in worse]
    if not active:
        return _roll_back(plan, state, reason)
    return state.replace(active=active, desired=plan.weights(state.step, active), reason=reason)


def _roll_back(plan: Plan, state: State, reason: str) -> State:
    return state.replace(phase="RollingBack", desired=plan.weights(None), paused=None, held={}, reason=reason)


def _settle(state: State, requests: int, end: Phase) -> State:
    """The last phase, once enough consecutive looks found no request at the versions that get none."""
    quiet = state.quiet + 1 if requests == 0 and state.confirmed == state.desired else 0
    return state.replace(quiet=quiet, phase=end if quiet >= QUIET else state.phase)


def _at_deadline(plan: Plan, state: State) -> State:
    """The state, held or rolled back once the deadline has passed."""
    if state.elapsed < seconds(plan.deadline) or "deadline" in state.accepted:
        return state
    late = f"the deadline of {plan.deadline} has passed without a decision"
    if plan.on_deadline == "roll-back":
        return _roll_back(plan, state, late)
    return state.replace(held=state.held | {"deadline": late})


def _requests(arms: dict[str, Arm], *, without: str) -> int:
    return sum(arm.responses for version, arm in arms.items() if version != without)


def _passed(plan: Plan, elapsed: float) -> float:
    """Seconds that count: at most two looks, since an engine that did not run has not watched."""
    return min(max(elapsed, 0.0), 2 * plan.look_seconds)


def _ages(state: State, scrape: Scrape, elapsed: float) -> dict[str, dict[str, float]]:
    """Seconds since each replica was first scraped; a replica that restarted is new."""
    ages: dict[str, dict[str, float]] = {}
    for version, replicas in scrape.arms.items():
        before = state.ages.get(version, {})
        earlier = state.baseline.arms.get(version, {}) if state.baseline is not None else {}
        ages[version] = {}
        for name, counters in replicas.items():
            restarted = name in earlier and counters.restarted_since(earlier[name])
            ages[version][name] = 0.0 if name not in before or restarted else before[name] + max(elapsed, 0.0)
    return ages


def _cold(plan: Plan, ages: dict[str, float]) -> frozenset[str]:
    return frozenset(name for name, age in ages.items() if age < seconds(plan.warm_up))
