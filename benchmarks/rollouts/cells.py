"""The comparisons: each cell is one world, one rule, and a number of rollouts from a fixed seed."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.rollouts import figures, ours, rivals
from benchmarks.rollouts import worlds as w
from benchmarks.rollouts.ours import Outcome
from sabia.rollout.forecast import Traffic, forecast
from sabia.sequential import above_rate
from sabia.sequential.planning import odds_growth

RATES = (0.2, 1.0, 10.0, 100.0, 1000.0)
FIVE = {"steps": [5, 10, 25, 50]}
# Six minutes at each weight, whatever the evidence of safety says.
SLOW = FIVE | {"minimum_dwell": "360s"}
ALL_STEPS = {"minimum_dwell": "285s"}


@dataclass(frozen=True, slots=True)
class Size:
    """How many rollouts of each kind."""

    nulls: int
    dense: int
    rivals: int
    others: int


SIZES = {"small": Size(200, 200, 100, 100), "full": Size(20_000, 20_000, 2_000, 2_000)}


def seeded(name: str) -> np.random.Generator:
    """A generator that depends on what it is for, and on nothing else."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def null_shares(job: tuple[str, float, int]) -> tuple[str, int, int]:
    """False rollbacks of one null: its name, how many, of how many."""
    name, rate, count = job
    rng = seeded(f"null {name} {rate}")
    kind, _, rest = name.partition(": ")
    if kind == "errors":
        every = [*w.nulls(rate), w.ramp(rate), *(w.bursts(rate, size) for size in (1.0, 3.0, 10.0, 30.0))]
        world = next(world for world in every if world.name == rest)
        history = 240 if world.burst > 1 else 0
        outcome = ours.errors(world, count, rng, ours.a_plan(**ALL_STEPS), timer=True, history=history)
    elif kind == "labels":
        # Truths arrive late, but batches are those of the predictions: a twentieth of the answers is wrong.
        outcome = ours.errors(w.worse(rate, 0.05, 0.05), count, rng, ours.a_plan(**ALL_STEPS), timer=True)
    elif kind == "latency":
        worlds = {
            "steady": w.Times(rest, rate),
            "load drifts x3": w.Times(rest, rate, common=w.tripling),
            "cold start 60 s": w.Times(rest, rate, cold=60),
        }
        outcome = ours.latency(worlds[rest], count, rng)
    else:
        outcome = ours.predictions(w.Answers(rest, rate, drifting=rest != "steady"), count, rng)
    return f"{name}, {rate:g} rps", int(outcome.is_rolled_back.sum()), count


def null_jobs(size: Size) -> list[tuple[str, float, int]]:
    """Every null of the engine."""
    jobs = [(f"errors: {world.name}", rate, size.nulls) for rate in RATES for world in [*w.nulls(rate), w.ramp(rate)]]
    jobs += [(f"errors: bursts of {burst}", 100.0, size.nulls) for burst in (1, 3, 10, 30)]
    jobs += [("labels: delayed", rate, size.nulls) for rate in (1.0, 10.0, 100.0)]
    jobs += [
        (f"latency: {kind}", rate, size.dense)
        for rate in (2.0, 20.0)
        for kind in ("steady", "load drifts x3", "cold start 60 s")
    ]
    jobs += [(f"predictions: {kind}", rate, size.dense) for rate in (2.0, 20.0) for kind in ("steady", "drifting")]
    return jobs


def rival_nulls(size: Size) -> dict[str, dict[str, float]]:
    """False rollbacks of every rule, by rule and null."""
    picked = [
        (1.0, "p = 0.001"),
        (10.0, "p = 0.001"),
        (10.0, "p = 0.008"),
        (100.0, "p = 0.008"),
        (10.0, "outage of both"),
        (100.0, "load drifts x3"),
    ]
    found: dict[str, dict[str, float]] = {}
    for rate, name in picked:
        world = next(world for world in w.nulls(rate) if world.name == name)
        label = f"{rate:g} rps, {name}"
        for rule, decide in rivals.RULES.items():
            outcome = decide(world, size.rivals, seeded(f"{rule} {label}"))
            found.setdefault(rule, {})[label] = float(outcome.is_rolled_back.mean())
    return found


ALTERNATIVES = ((0.001, 0.002), (0.001, 0.005), (0.001, 0.02), (0.001, 0.1), (0.001, 1.0))


def detections(size: Size) -> dict[str, list[list[object]]]:
    """Worse canaries by every rule; and, for all cells that are decided, the forecast beside the realised median."""
    rows: list[list[object]] = []
    pairs: list[list[object]] = []
    beside = (
        "Flagger, tutorial",
        "Argo Rollouts, docs",
        "Argo Rollouts, defaults (1 min, 99 %)",
        "SageMaker alarm 3 of 5",
        "Kayenta",
        "z test, peeking, 5 %",
    )
    for rate in RATES:
        for stable, canary in ((0.001, 0.001), *ALTERNATIVES):
            world, plan = w.worse(rate, stable, canary), ours.a_plan()
            outcome = ours.errors(world, size.others, seeded(f"{rate} {world.name}"), plan, horizon=14400)
            if canary > stable:
                row: list[object] = [f"{rate:g}", f"{stable:.1%} → {canary:.3g}", figures.detection(outcome)]
                row += [
                    figures.detection(rivals.RULES[rule](world, max(size.rivals // 4, 50), seeded(f"{rule} {rate}")))
                    for rule in beside
                ]
                rows.append(row)
            expected = forecast(plan, Traffic(rate, stable), canary)
            realised = _decided(outcome, expected.end)
            if expected.end and math.isfinite(realised):
                pairs.append([f"{rate:g} rps, {canary:.3g}", _WORDS[expected.end], expected.seconds, realised])
    return {"rows": rows, "pairs": pairs}


def named(size: Size) -> dict[str, dict[str, float]]:
    """The cells that promises name: shares, medians, failed requests."""
    plans = {
        "T2": (w.worse(100, 0.001, 1.0), ours.a_plan(), False, 0),
        "T3 from 1 %": (w.worse(100, 0.001, 0.02), ours.a_plan(), False, 0),
        "T3 from 5 %": (w.worse(100, 0.001, 0.02), ours.a_plan(**FIVE), False, 0),
        "T4": (w.worse(100, 0.001, 0.005), ours.a_plan(**SLOW), True, 0),
        "T9 x100": (w.bursts(100, 30, worse=100), ours.a_plan(**FIVE), False, 240),
        "leak": (w.leak(100), ours.a_plan(**ALL_STEPS), True, 0),
    }
    found = {}
    for name, (world, plan, timer, history) in plans.items():
        count = 5 * size.others
        outcome = ours.errors(world, count, seeded(name), plan, timer=timer, horizon=2400, history=history)
        facts = (outcome.is_rolled_back.mean(), figures.median(outcome.rolled_back), outcome.failed.mean())
        found[name] = dict(zip(("found", "median", "failed"), map(float, facts), strict=True))
    # Wald's mean for a test that knows the ratio of the rates and, like ours, has to learn both rates.
    growth = float(odds_growth(100.0, 0.05, 0.001, 0.005, ratios=(5.0,))[0])
    found["T4 oracle"] = {"median": math.log(100) / growth}
    # And for a test that knows both rates.
    knowing = rivals.Oracle(0.001, 0.005)(w.worse(100, 0.001, 0.005), size.others, seeded("oracle"))
    found["all-knowing"] = {"median": figures.median(knowing.rolled_back)}
    return found


_WORDS = {"Promoted": "promoted", "RolledBack": "rolled-back"}


def _decided(outcome: Outcome, end: str | None) -> float:
    times = {"RolledBack": outcome.rolled_back, "Promoted": outcome.promoted}.get(end or "")
    return math.inf if times is None else figures.median(times)


def promotions(size: Size) -> list[list[object]]:
    """Healthy canaries: how many are promoted, and when."""
    rows: list[list[object]] = []
    for rate in (1.0, 10.0, 100.0, 1000.0):
        for share in (0.001, 0.008):
            outcome = ours.errors(w.worse(rate, share, share), size.others, seeded(f"up {rate} {share}"), horizon=7200)
            rows.append(
                [
                    f"{rate:g}",
                    f"{share:.1%}",
                    f"{outcome.is_promoted.mean():.1%}",
                    figures.median(outcome.promoted),
                    f"{outcome.is_rolled_back.mean():.2%}",
                ]
            )
    return rows


def margins(size: Size) -> list[list[object]]:
    """Canaries exactly at the last margin: how many are promoted although they should not be."""
    worlds = [w.worse(10.0, share, share + 0.01) for share in (0.0, 0.001, 0.008, 0.05)]
    worlds += [
        w.World(f"{name} + 1 pp", world.rate, world.stable, w.plus(world.stable, 0.01))
        for world in w.nulls(10.0)
        for name in [world.name]
        if name in ("outage of both", "load drifts x3", "diurnal")
    ]
    rows: list[list[object]] = []
    for world in worlds:
        outcome = ours.errors(world, size.others, seeded(f"margin {world.name}"), horizon=7200)
        rows.append(
            [
                world.name,
                int(outcome.is_promoted.sum()),
                size.others,
                figures.share(int(outcome.is_promoted.sum()), size.others),
            ]
        )
    return rows


def latencies(size: Size) -> list[list[object]]:
    """Slower canaries, and identical ones, by every rule that looks at times."""
    worlds = [
        w.Times("identical, 2 rps", 2),
        w.Times("identical, 20 rps", 20),
        w.Times("identical, load drifts x3, 20 rps", 20, common=w.tripling),
        w.Times("+10 %, 100 rps", 100, 1.1),
        w.Times("+30 %, 20 rps", 20, 1.3),
        w.Times("x2, 20 rps", 20, 2.0),
        w.Times("2 % of requests +1 s, 20 rps", 20, tail=0.02),
    ]
    return _beside(worlds, size, ours.latency, rivals.latency)


def shifts(size: Size) -> list[list[object]]:
    """Canaries that answer otherwise, and identical ones, by every rule that looks at predictions."""
    worlds = [
        w.Answers("identical, 2 rps", 2),
        w.Answers("identical, both drift, 20 rps", 20, drifting=True),
        w.Answers("TV 0.02, 100 rps", 100, 0.02),
        w.Answers("TV 0.05, 100 rps", 100, 0.05),
        w.Answers("TV 0.10, 20 rps", 20, 0.10),
        w.Answers("TV 0.10 spread over all bins, 20 rps", 20, 0.10, spread=True),
        w.Answers("TV 0.25, 20 rps", 20, 0.25),
        w.Answers("constant class, 20 rps", 20, constant=True),
    ]
    return _beside(worlds, size, ours.predictions, rivals.predictions)


def _beside(
    worlds: Sequence[w.Times] | Sequence[w.Answers],
    size: Size,
    mine: Callable[..., Outcome],
    theirs: Callable[..., dict[str, Outcome]],
) -> list[list[object]]:
    rows: list[list[object]] = []
    count = max(size.others // 4, 50)
    for world in worlds:
        row: list[object] = [world.name, figures.detection(mine(world, count, seeded(world.name)))]
        row += [figures.detection(outcome) for outcome in theirs(world, count, seeded(world.name)).values()]
        rows.append(row)
    return rows


def mirrored(size: Size) -> list[list[object]]:
    """Pairs until a disagreement over the tolerance of 2 % is known, and false alarms at it."""
    rows: list[list[object]] = []
    for rate in (0.02, 0.08, 0.20):
        rng = seeded(f"pairs {rate}")
        pairs = np.full(size.others, np.nan)
        for run in range(size.others):
            events = 0
            for n, differs in enumerate(rng.random(1000) < rate, 1):
                events += int(differs)
                if differs and above_rate(events, n, 0.02) >= math.log(100):
                    pairs[run] = n
                    break
        rows.append([f"{rate:.0%} against 2 %", f"{np.mean(~np.isnan(pairs)):.1%}", figures.median(pairs)])
    return rows


TABLES: dict[str, Callable[[Size], object]] = {
    "rivals": rival_nulls,
    "detections": detections,
    "named": named,
    "promotions": promotions,
    "margins": margins,
    "latencies": latencies,
    "shifts": shifts,
    "mirrored": mirrored,
}
