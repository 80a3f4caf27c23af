"""What a look costs: CPU time for each line of the real engine, and the size of its state."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import numpy as np

from sabia.contract.durations import EDGES
from sabia.rollout.counters import BUCKETS, Arm, Counters, Scrape
from sabia.rollout.events import Looked, Moved, Started
from sabia.rollout.lines import Lines, Look, Stable
from sabia.rollout.plan import from_mapping
from sabia.rollout.state import initial_state
from sabia.rollout.transition import advance

_LOOKS = 60
# The fastest of these repetitions: other load on the machine can only make it slower.
_PASSES = 5


def measure() -> dict[str, float]:
    """Milliseconds of CPU by line, of a whole look, and bytes of state by line.

    Batches are those of 1,000 requests a second at 5 %: 15,000 requests, twenty bins of predictions.
    """
    plan = from_mapping({"model": "m", "stable": "1.0", "canary": "2.0"})
    rng = np.random.default_rng(0)
    looks = [_look(rng, _known(rng)) for _ in range(_LOOKS)]
    lines = Lines.start(plan)
    found: dict[str, float] = {}
    assert lines.latency is not None
    assert plan.watch.latency is not None
    assert lines.predictions is not None
    rules, latency, predictions, errors = plan.watch.latency, lines.latency, lines.predictions, lines.errors

    def timed(name: str, call: Callable[[Look], object]) -> None:
        passes = []
        for _ in range(_PASSES):
            started = time.process_time()
            for look in looks:
                call(look)
            passes.append(time.process_time() - started)
        found[f"{name}, ms"] = min(passes) / _LOOKS * 1000

    timed("errors", lambda look: errors.update(plan, look))
    timed("latency", lambda look: latency.update("decision", rules.quantiles, look, tolerance=1.05, slack=0.001))
    timed("predictions", lambda look: predictions.update(0.1, look))
    for look in looks:
        lines = lines.update(plan, look)
    for name in ("errors", "latency", "predictions"):
        found[f"{name}, bytes"] = len(msgspec.json.encode(getattr(lines, name)))
    found["stable, bytes"] = len(msgspec.json.encode(looks[-1].known))
    found["look, ms"] = min(_whole_looks(np.random.default_rng(0)) for _ in range(_PASSES))
    return found


def _known(rng: np.random.Generator) -> Stable:
    times = np.bincount(np.searchsorted(EDGES, 0.02 * np.exp(0.5 * rng.standard_normal(500))), minlength=BUCKETS)
    return Stable(n=100_000, errors=100).with_history(times.astype(float), times.astype(float))


def _look(rng: np.random.Generator, known: Stable) -> Look:
    return Look(_arm(rng, 14_250), _arm(rng, 750), known)


def _arm(rng: np.random.Generator, n: int) -> Arm:
    times = np.bincount(np.searchsorted(EDGES, 0.02 * np.exp(0.5 * rng.standard_normal(n))), minlength=BUCKETS)
    bins = {str(at): int(count) for at, count in enumerate(rng.multinomial(n, [0.05] * 20))}
    return Arm(n=n, errors=int(rng.binomial(n, 0.001)), decision=times, duration=times, bins=bins)


def _whole_looks(rng: np.random.Generator) -> float:
    """Milliseconds of CPU for `advance` on everything that a scrape brings, of one rollout."""
    plan = from_mapping({"model": "m", "stable": "1.0", "canary": "2.0", "steps": [5], "minimum_dwell": "1d"})
    state = initial_state(Started(plan, {"1.0": 100, "2.0": 0}, "benchmark"))
    arms = {"1.0": Counters(), "2.0": Counters()}
    weights, spent = {"1.0": 100, "2.0": 0}, 0.0
    for _ in range(_LOOKS):
        arms = {version: _more(rng, arms[version], n) for version, n in (("1.0", 14_250), ("2.0", 750))}
        scrape = Scrape({version: {"one": counters} for version, counters in arms.items()})
        started = time.process_time()
        state = advance(plan, state, Looked(scrape, weights, 15.0))
        if state.unsettled:
            state, weights = advance(plan, state, Moved(state.desired, scrape)), state.desired
        spent += time.process_time() - started
    return spent / _LOOKS * 1000


def _more(rng: np.random.Generator, before: Counters, n: int) -> Counters:
    arm = _arm(rng, n)
    decision = {at: int(arm.decision[at]) + before.decision.get(at, 0) for at in np.flatnonzero(arm.decision).tolist()}
    bins = {name: count + before.bins.get(name, 0) for name, count in arm.bins.items()}
    return Counters(
        before.requests + n, before.errors + arm.errors, before.decision | decision, before.decision | decision, bins
    )
