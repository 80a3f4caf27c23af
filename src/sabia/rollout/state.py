"""Where a rollout stands, and how an event changes that: a pure function, so that a replay decides the same.

```
pending ──► step 1 … n ──► promoting ──► done
    │            │             │
    └────────────┴─────────────┴──► rolling-back ──► rolled-back
```
`paused` (somebody said so, or the stable or somebody else's hand is a reason to) and `held` (something must not go on
by itself) keep a step from advancing; neither keeps harm from rolling back.

Weights that are `wanted` are written down before they are put into force, and `confirmed` after; what lies between is
done again by whoever finds it. Nothing here reads a clock: time is what looks say has passed.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from sabia.rollout.counters import Arm, Scrape, difference, total
from sabia.rollout.lines import Lines, Look, Stable
from sabia.rollout.plan import Plan, seconds
from sabia.sequential import average, harmed, mismatch

Phase = Literal["pending", "stepping", "promoting", "done", "rolling-back", "rolled-back"]
Verb = Literal["pause", "resume", "promote", "abort"]

ENDED: tuple[Phase, ...] = ("done", "rolled-back")
# A share that differs from its weight is said to differ at this level; it only holds.
_MISMATCH = math.log(1000)
# After a move, this many looks must see nothing at the version that is to get nothing.
QUIET = 2


class Looked(msgspec.Struct, frozen=True, tag="look", omit_defaults=True):
    """What was found: counters and weights, or why they could not be had.

    `elapsed`: seconds since the look before, as the engine's own clock counts them; 0 after it started.
    """

    scrape: Scrape | None = None
    weights: dict[str, int] | None = None
    elapsed: float = 0.0
    problem: str | None = None


class Moved(msgspec.Struct, frozen=True, tag="moved", omit_defaults=True):
    """The wanted weights are in force; counters from right after, from which the next batch counts."""

    weights: dict[str, int]
    scrape: Scrape | None = None


class Command(msgspec.Struct, frozen=True, tag="command", omit_defaults=True):
    """Somebody decided."""

    verb: Verb
    actor: str
    version: str | None = None


class Started(msgspec.Struct, frozen=True, tag="start"):
    """A rollout begins; the plan, and the weights as they were."""

    plan: Plan
    weights: dict[str, int]
    actor: str


Event = Started | Looked | Moved | Command


class State(msgspec.Struct, frozen=True):
    """Everything that the next decision depends on.

    Attributes:
        step: index of the step whose weights are wanted; None before the first.
        dwell, elapsed: seconds in this step, and in all.
        paused, held, problem: a sentence each, or None; held by kind.
        accepted: kinds of holding that somebody said to go on with.
        wanted, confirmed: weights; confirmed is None until the first look.
        baseline: the counters that the next batch counts from.
        ages: by version and replica, for how many seconds it has been seen.
        active: canaries that get requests.
        verdicts: by canary, what the last look said.
        lines: by canary, the evidence.
        shares: requests by version since the weights were confirmed.
        quiet: looks in a row that saw nothing where nothing should be.
        reason: why it was rolled back, or what else ended it.
    """

    phase: Phase
    step: int | None
    wanted: dict[str, int]
    active: list[str]
    lines: dict[str, Lines]
    stable: Stable = Stable()
    confirmed: dict[str, int] | None = None
    baseline: Scrape | None = None
    dwell: float = 0.0
    elapsed: float = 0.0
    paused: str | None = None
    held: dict[str, str] = {}
    problem: str | None = None
    accepted: list[str] = []
    ages: dict[str, dict[str, float]] = {}
    verdicts: dict[str, str] = {}
    shares: dict[str, int] = {}
    quiet: int = 0
    reason: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing will happen any more."""
        return self.phase in ENDED

    @property
    def unsettled(self) -> bool:
        """Whether weights are wanted that are not known to be in force."""
        return not self.ended and self.confirmed is not None and self.wanted != self.confirmed

    def but(self, **changed: object) -> State:
        """The state with some of it changed."""
        return msgspec.structs.replace(self, **changed)


def begin(event: Started) -> State:
    """The state of a rollout that has just been started."""
    plan = event.plan
    lines = {version: Lines.begin(plan) for version in plan.canaries}
    return State(phase="pending", step=None, wanted=event.weights, active=plan.canaries, lines=lines)


def advance(plan: Plan, state: State, event: Event) -> State:
    """The state after an event."""
    if state.ended or isinstance(event, Started):
        return state
    if isinstance(event, Command):
        return _command(plan, state, event)
    if isinstance(event, Moved):
        return _moved(state, event)
    return _looked(plan, state, event)


def line_weights(plan: Plan) -> dict[str, float]:
    """How the lines that may roll back share in the average: errors half, the others the other half between them."""
    watch = plan.watch
    others = [
        name
        for name, rules in (("latency", watch.latency), ("labels", watch.labels))
        if rules is not None and rules.on_harm == "roll-back"
    ]
    if watch.predictions is not None and watch.predictions.on_shift == "roll-back":
        others.append("predictions")
    return {"errors": 0.5 if others else 1.0} | {name: 0.5 / len(others) for name in others}


def harm(plan: Plan, lines: Lines) -> float:
    """Log of the evidence of harm, all lines that may roll back together."""
    log_e, weights = lines.log_e(plan), line_weights(plan)
    return average({name: log_e[name] for name in weights}, weights)


def _command(plan: Plan, state: State, event: Command) -> State:
    if event.verb == "pause":
        return state.but(paused=f"paused by {event.actor}")
    if event.verb == "resume":
        # Whoever moved the weights by hand gets those again that the rollout wants.
        wanted = _weights_of(plan, state)
        accepted = sorted({*state.accepted, *state.held})
        return state.but(paused=None, held={}, accepted=accepted, shares={}, wanted=wanted)
    if event.verb == "abort":
        return _roll_back(plan, state, f"aborted by {event.actor}")
    version = event.version or (state.active[0] if len(state.active) == 1 else None)
    if version not in state.active or state.phase not in ("pending", "stepping"):
        return state.but(problem=f"promote by {event.actor} was not possible")
    return _promote(plan, state, version, f"promoted by {event.actor}")


def _weights_of(plan: Plan, state: State) -> dict[str, int]:
    """What the phase wants."""
    if state.phase == "promoting":
        return dict.fromkeys(plan.versions, 0) | {state.active[0]: 100}
    if state.phase == "pending":
        return state.wanted
    return plan.weights(state.step if state.phase == "stepping" else None, state.active)


def _moved(state: State, event: Moved) -> State:
    if event.weights != state.wanted:
        return state
    moved = state.but(confirmed=event.weights, baseline=event.scrape, shares={}, quiet=0, problem=None)
    return moved if event.scrape is None else moved.but(ages=_aged(state, event.scrape, 0.0))


def _looked(plan: Plan, state: State, event: Looked) -> State:
    if event.scrape is None or event.weights is None:
        return state.but(problem=event.problem or "nothing was found")
    state = state.but(problem=event.problem)
    if state.confirmed is None:
        state = state.but(confirmed=event.weights, wanted=event.weights if state.phase == "pending" else state.wanted)
    if event.weights not in (state.confirmed, state.wanted):
        shown = ", ".join(f"{version} {weight}" for version, weight in sorted(event.weights.items()))
        by_hand = f"the weights were changed to {shown}, and not by this rollout"
        return state.but(
            paused=by_hand, confirmed=event.weights, wanted=event.weights, baseline=event.scrape, shares={}
        )
    if state.phase == "pending":
        return _try_to_begin(plan, state, event.scrape, event.elapsed)
    ages = _aged(state, event.scrape, event.elapsed)
    if state.baseline is None or event.weights != state.confirmed:
        # Nothing to count from; or the weights have become the wanted ones unseen, some time since the last look.
        return state.but(confirmed=event.weights, baseline=event.scrape, ages=ages, shares={}, quiet=0)
    cold = {version: _cold(plan, seen) for version, seen in ages.items()}
    arms = {
        version: difference(state.baseline, event.scrape, version, cold=cold.get(version, frozenset()))
        for version in plan.versions
    }
    lines = {
        version: found.look(plan, Look(arms[plan.compared], arms[version], state.stable))
        if version in state.active and state.phase == "stepping"
        else found
        for version, found in state.lines.items()
    }
    shares = {version: state.shares.get(version, 0) + arm.n for version, arm in arms.items()}
    passed = min(max(event.elapsed, 0.0), 2 * plan.look_seconds)
    after = state.but(
        lines=lines,
        stable=state.stable.after(arms[plan.compared]),
        baseline=event.scrape,
        ages=ages,
        shares=shares,
        dwell=state.dwell + passed,
        elapsed=state.elapsed + passed,
    )
    return _decide(plan, after, event.scrape, arms)


def _try_to_begin(plan: Plan, state: State, scrape: Scrape, elapsed: float) -> State:
    """The first step, once every version can serve."""
    passed = state.elapsed + min(max(elapsed, 0.0), 2 * plan.look_seconds)
    none = "no replica of it was found"
    missing = {v: scrape.trouble.get(v) or ("" if scrape.arms.get(v) else none) for v in plan.versions}
    waiting = {f"ready {version}": f"{version} is not ready: {why}" for version, why in missing.items() if why}
    state = state.but(elapsed=passed, held=waiting)
    if waiting or state.paused:
        return _deadline(plan, state)
    # Replicas of the stable that are there before the rollout are warm; all others have to become so.
    warm = dict.fromkeys(scrape.arms[plan.stable], seconds(plan.warm_up))
    ages = {version: dict.fromkeys(scrape.arms[version], 0.0) for version in plan.canaries}
    stable = state.stable.remembering(
        total(scrape, plan.stable, "decision").astype(float), total(scrape, plan.stable, "duration").astype(float)
    )
    return state.but(
        phase="stepping",
        step=0,
        wanted=plan.weights(0),
        stable=stable,
        baseline=scrape,
        ages={plan.stable: warm} | ages,
    )


def _decide(plan: Plan, state: State, scrape: Scrape, arms: dict[str, Arm]) -> State:
    if state.paused is not None and state.phase != "stepping":
        return state
    if state.phase == "promoting":
        (canary,) = state.active
        if canary in scrape.trouble:
            return _roll_back(plan, state, f"{canary} cannot serve: {scrape.trouble[canary]}")
        return _quiet(state, sum(arms[version].n for version in plan.versions if version != canary), "done")
    if state.phase == "rolling-back":
        return _quiet(state, sum(arms[version].n for version in plan.versions if version != plan.stable), "rolled-back")
    worse = _worse(plan, state, scrape)
    safe = [version for version in state.active if version not in worse and is_safe(plan, state, version)]
    verdicts = {v: "harm" if v in worse else "safe" if v in safe else "undecided" for v in state.active}
    state = state.but(verdicts=state.verdicts | verdicts, held=_reasons_to_hold(plan, state, scrape))
    if worse:
        return _without(plan, state, worse)
    return _go_on(plan, state, safe)


def _go_on(plan: Plan, state: State, safe: list[str]) -> State:
    """Nobody is worse: pause, go to the next step, or wait."""
    worsening = state.stable.worsening
    if worsening is not None and state.paused is None and "worsening" not in state.accepted:
        return state.but(
            paused=f"{plan.stable} is worse than it was: {worsening}", accepted=[*state.accepted, "worsening"]
        )
    if state.paused is None and not state.held and len(safe) == len(state.active):
        return _next(plan, state)
    return _deadline(plan, state)


def _worse(plan: Plan, state: State, scrape: Scrape) -> dict[str, str]:
    """The canaries to be rolled back, and why: harm by evidence, or one that cannot serve while the stable can."""
    evidence = {version: harm(plan, state.lines[version]) for version in state.active}
    worse = {version: _why(plan, state, version) for version in harmed(evidence, plan.harm.alpha)}
    if not {plan.stable, plan.compared} & set(scrape.trouble):
        worse |= {v: f"{v} cannot serve: {scrape.trouble[v]}" for v in state.active if v in scrape.trouble}
    return worse


def is_safe(plan: Plan, state: State, version: str) -> bool:
    """Whether a canary is within the margin of this step."""
    step = state.step or 0
    return state.lines[version].errors.safe(plan.margins[step]) >= -math.log(plan.safe.beta)


def _next(plan: Plan, state: State) -> State:
    step = state.step or 0
    if state.dwell < plan.dwell_seconds:
        return _deadline(plan, state)
    if step + 1 < len(plan.steps):
        return state.but(step=step + 1, dwell=0.0, wanted=plan.weights(step + 1, state.active))
    if len(state.active) > 1:
        which = " and ".join(state.active)
        return state.but(held={"choice": f"{which} are safe; say which with `sabia rollout promote --version`"})
    return _promote(plan, state, state.active[0], f"{state.active[0]} is safe at every step")


def _promote(plan: Plan, state: State, version: str, reason: str) -> State:
    everything = dict.fromkeys(plan.versions, 0) | {version: 100}
    return state.but(phase="promoting", wanted=everything, active=[version], paused=None, held={}, reason=reason)


def _without(plan: Plan, state: State, worse: dict[str, str]) -> State:
    reason = "; ".join(worse[version] for version in sorted(worse))
    active = [version for version in state.active if version not in worse]
    if not active:
        return _roll_back(plan, state, reason)
    return state.but(active=active, wanted=plan.weights(state.step, active), reason=reason)


def _roll_back(plan: Plan, state: State, reason: str) -> State:
    return state.but(phase="rolling-back", wanted=plan.weights(None), paused=None, held={}, reason=reason)


def _quiet(state: State, requests: int, then: Phase) -> State:
    quiet = state.quiet + 1 if requests == 0 and state.confirmed == state.wanted else 0
    return state.but(quiet=quiet, phase=then if quiet >= QUIET else state.phase)


def _deadline(plan: Plan, state: State) -> State:
    if state.elapsed < seconds(plan.deadline) or "deadline" in state.accepted:
        return state
    late = f"the deadline of {plan.deadline} has passed without a decision"
    if plan.on_deadline == "roll-back":
        return _roll_back(plan, state, late)
    return state.but(held=state.held | {"deadline": late})


def _reasons_to_hold(plan: Plan, state: State, scrape: Scrape) -> dict[str, str]:
    """By kind, what must not go on by itself; without what somebody accepted."""
    found = {}
    limit = -math.log(plan.harm.alpha)
    rolls_back = line_weights(plan)
    for version in state.active:
        for name, log_e in state.lines[version].log_e(plan).items():
            if name not in rolls_back and log_e >= limit:
                found[f"{name} {version}"] = _HOLDING[name].format(version=version, odds=odds(log_e))
    for version in {plan.stable, plan.compared} & set(scrape.trouble):
        found[f"serving {version}"] = f"{version} cannot serve: {scrape.trouble[version]}"
    counts = {version: state.shares.get(version, 0) for version, weight in state.wanted.items() if weight > 0}
    if len(counts) > 1 and state.confirmed == state.wanted:
        shares = [state.wanted[version] / 100 for version in counts]
        if mismatch(list(counts.values()), shares) >= _MISMATCH:
            seen = ", ".join(f"{version} {count:,}" for version, count in counts.items())
            found["shares"] = f"requests do not follow the weights ({seen}); routing is broken, not the model"
    return {kind: text for kind, text in found.items() if kind not in state.accepted}


_HOLDING = {
    "predictions": "{version} predicts otherwise than the budget allows, {odds} to 1",
    "latency": "{version} takes longer to decide, {odds} to 1",
    "labels": "{version} is wrong more often, {odds} to 1",
    "duration": "calls of {version} take more than twice as long, {odds} to 1; the decision itself is compared apart",
}


def odds(log_e: float) -> str:
    """Evidence for people."""
    if log_e > math.log(1e6):
        return "over a million"
    value = math.exp(log_e)
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _why(plan: Plan, state: State, version: str) -> str:
    """Which line was the worst, in words."""
    lines = state.lines[version]
    weights, log_e = line_weights(plan), lines.log_e(plan)
    worst = max(sorted(weights), key=lambda name: log_e[name] + math.log(weights[name]))
    against = f"{odds(harm(plan, lines))} to 1 against {version}"
    return f"{against}: {seen(plan, lines, worst)}"


def seen(plan: Plan, lines: Lines, name: str) -> str:
    """What a line has counted, in words and numbers."""
    if name == "errors":
        line = lines.errors
        return f"{line.x1:,} of {line.n1:,} canary against {line.x0:,} of {line.n0:,} stable requests failed"
    if name == "labels" and lines.labels is not None:
        truth = lines.labels
        return f"{truth.x1:,} of {truth.n1:,} canary against {truth.x0:,} of {truth.n0:,} stable answers were wrong"
    if name == "predictions" and lines.predictions is not None:
        budget = plan.watch.predictions.budget if plan.watch.predictions else 0.0
        return f"predictions differ by {lines.predictions.distance:.2f} of total variation; the budget is {budget:g}"
    times = lines.duration if name == "duration" else lines.latency
    if times is None or times.n1 == 0 or times.n0 == 0:
        return f"no {'calls' if name == 'duration' else 'decisions'} were timed in both arms yet"
    at = max(range(len(times.bets)), key=lambda at: times.bets[at].log_e)
    shares = f"{times.over1[at] / times.n1:.1%} of canary against {times.over0[at] / times.n0:.1%} of stable"
    what = "calls" if name == "duration" else "decisions"
    return f"{shares} {what} took longer than {times.thresholds[at] * 1000:.3g} ms (of the canary: past the tolerance)"


def _aged(state: State, scrape: Scrape, elapsed: float) -> dict[str, dict[str, float]]:
    """For how long each replica has been seen; one that started again is new."""
    found: dict[str, dict[str, float]] = {}
    for version, replicas in scrape.arms.items():
        before = state.ages.get(version, {})
        earlier = state.baseline.arms.get(version, {}) if state.baseline is not None else {}
        found[version] = {}
        for name, counters in replicas.items():
            again = name in earlier and counters.restarted_since(earlier[name])
            found[version][name] = 0.0 if name not in before or again else before[name] + max(elapsed, 0.0)
    return found


def _cold(plan: Plan, ages: dict[str, float]) -> frozenset[str]:
    return frozenset(name for name, age in ages.items() if age < seconds(plan.warm_up))
