"""The page that the benchmark writes: promises first, then the tables they come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rollouts import figures
from benchmarks.rollouts.figures import table

PAGE, PLOT = "rollouts.md", "false-rollbacks.svg"
_NAME = "Sabiá"
_ABOUT = (
    "Simulated rollouts from fixed seeds; a look every 15 s, alpha 1 %, beta 5 %. Shares have their one-sided upper"
    " 99 % Clopper-Pearson bound. Rivals are re-implementations of their documented rules."
)


@dataclass(frozen=True, slots=True)
class Target:
    """One promise, and what was seen."""

    name: str
    promise: str
    seen: str
    held: bool


def targets(nulls: list[tuple[str, int, int]], found: dict[str, Any], cost: dict[str, float]) -> list[Target]:
    """T1 to T9, T12 and T13."""
    result = [_worst_null("T1", "false rollback <= 1.0 % for every null, upper 99 % bound <= 1.3 %", nulls, "")]
    named = found["named"]
    t2, t3, t3_five, t4 = (named[name] for name in ("T2", "T3 from 1 %", "T3 from 5 %", "T4"))
    oracle = named["T4 oracle"]["median"]
    result += [
        Target(
            "T2",
            "100 % broken, 100 rps, from 1 %: one scrape, <= 20 failed requests",
            f"{t2['median']:.0f} s, {t2['failed']:.1f} failed",
            t2["median"] <= 15 and t2["failed"] <= 20,
        ),
        Target(
            "T3",
            "0.1 -> 2 %, 100 rps: <= 90 s from 1 %, <= 45 s from 5 %, <= 6 failed",
            f"{t3['median']:.0f} s and {t3['failed']:.1f} failed; {t3_five['median']:.0f} s and "
            f"{t3_five['failed']:.1f} failed",
            t3["median"] <= 90 and t3_five["median"] <= 45 and max(t3["failed"], t3_five["failed"]) <= 6,
        ),
        Target(
            "T4",
            "0.1 -> 0.5 %, 100 rps, from 5 %: <= 300 s and <= 1.3 x the oracle, which knows the ratio",
            f"{t4['median']:.0f} s, {t4['median'] / oracle:.2f} x {oracle:.0f} s "
            f"(which knows both rates: {named['all-knowing']['median']:.0f} s)",
            t4["median"] <= 300 and t4["median"] / oracle <= 1.3,
        ),
        _medians("T5", found["latencies"], {"+30 %": 135, "x2": 45, "+10 %": 180}, nulls, "latency"),
        _medians("T6", found["shifts"], {"TV 0.10, 20 rps": 165, "constant": 30}, nulls, "predictions"),
        _promotions(found),
        Target(
            "T8",
            "mirrored, disagreement 8 % against 2 %: <= 100 pairs",
            f"{found['mirrored'][1][2]:.0f} pairs; {found['mirrored'][0][1]} false alarms at 2 %",
            found["mirrored"][1][2] <= 100,
        ),
    ]
    bursts = _worst_null("T9", "", nulls, "errors: bursts")
    t9 = named["T9 x100"]
    result.append(
        Target(
            "T9",
            "bursts of 30: false rollback <= 1 %; 100 times as many at 100 rps from 5 %: <= 90 s",
            f"{bursts.seen}; {t9['median']:.0f} s",
            bursts.held and t9["median"] <= 90,
        )
    )
    result.append(_cost(cost))
    result.append(_forecasts(found["detections"]["pairs"]))
    return result


def _worst_null(name: str, promise: str, nulls: list[tuple[str, int, int]], prefix: str) -> Target:
    matching = [item for item in nulls if item[0].startswith(prefix)]
    worst, count, total = max(matching, key=lambda item: item[1] / item[2])
    bound = figures.upper(count, total)
    seen = f"worst of {len(matching)}: {figures.share(count, total)} of {total:,} ({worst})"
    return Target(name, promise, seen, count / total <= 0.01 and bound <= 0.013)


def _medians(
    name: str, rows: list[list[object]], limits: dict[str, int], nulls: list[tuple[str, int, int]], kind: str
) -> Target:
    seen, held = [], True
    for prefix, limit in limits.items():
        row = next(row for row in rows if str(row[0]).startswith(prefix))
        time = float(str(row[1]).split(", ")[1].removesuffix(" s").replace(",", "").replace("-", "inf"))
        seen.append(f"{row[0]}: {time:.0f} s")
        held = held and time <= limit
    false = _worst_null(name, "", nulls, kind)
    promise = ", ".join(f"{prefix} <= {limit} s" for prefix, limit in limits.items()) + "; null and drift <= 1 %"
    return Target(name, promise, "; ".join([*seen, false.seen]), held and false.held)


def _promotions(found: dict[str, Any]) -> Target:
    times = {(row[0], row[1]): row[3] for row in found["promotions"]}
    fast, slow = times["100", "0.1%"], times["10", "0.1%"]
    worst = max(found["margins"], key=lambda row: row[1] / row[2])
    wrong = worst[1] / worst[2]
    seen = f"{fast:.0f} s, {slow:.0f} s; at the margin at worst {worst[3]} ({worst[0]})"
    promise = "healthy 1 -> 100 %: <= 300 s at 100 rps, <= 720 s at 10 rps; wrong promotion at the margin <= 5 %"
    return Target("T7", promise, seen, fast <= 300 and slow <= 720 and wrong <= 0.05)


def _cost(cost: dict[str, float]) -> Target:
    lines = ("errors", "latency", "predictions")
    each = {"errors": 1, "latency": 3, "predictions": 1}
    worst = max(cost[f"{line}, ms"] / each[line] for line in lines)
    weight = max(cost[f"{line}, bytes"] / each[line] for line in lines)
    whole = cost["look, ms"]
    seen = f"{worst:.2f} ms and {weight:,.0f} bytes a metric; {whole:.1f} ms a look, {15_000 / whole:,.0f} on one core"
    promise = "<= 1 ms of CPU a metric and look, <= 2 KB of state; 1,000 rollouts on a core at 15 s"
    return Target("T12", promise, seen, worst <= 1 and weight <= 2048 and whole <= 15)


def _forecasts(pairs: list[list[Any]]) -> Target:
    near = sum(abs(expected / realised - 1) <= 0.3 for _, _, expected, realised in pairs)
    seen = f"{near} of {len(pairs)} cells ({near / len(pairs):.0%})"
    return Target("T13", "forecast within 30 % of the realised median in 80 % of cells", seen, near >= 0.8 * len(pairs))


def write(
    folder: Path, nulls: list[tuple[str, int, int]], found: dict[str, Any], cost: dict[str, float], size: str
) -> tuple[str, list[Target]]:
    """Write the page and its plot; returns the page and the promises."""
    promised = targets(nulls, found, cost)
    rivals = found["rivals"]
    every = {f"{_NAME} ({len(nulls)} nulls)": {name: count / total for name, count, total in nulls}} | rivals
    figures.bars(
        folder / PLOT, "worst false-rollback share over its nulls; dashed: the promised 1 %", every, limit=0.01
    )
    columns = list(next(iter(rivals.values())))
    beside = ("Flagger tutorial", "Argo docs", "Argo defaults", "SageMaker 3 of 5", "Kayenta", "z peeking 5 %")
    leak = found["named"]["leak"]
    late = f"A canary that starts to fail (5 %) after 600 s: {leak['median']:.0f} s, {leak['failed']:.1f} failed."
    parts = [
        f"# Rollouts: Sabiá's rule and others ({size})",
        _ABOUT,
        "## Promises",
        table(
            ["", "promise", "measured", "held"],
            [[item.name, item.promise, item.seen, "yes" if item.held else "**no**"] for item in promised],
        ),
        f"![worst false-rollback share of every rule]({PLOT})",
        "## False rollbacks of an identical canary, by rule",
        table(["rule", *columns], [[rule, *(f"{shares[c]:.1%}" for c in columns)] for rule, shares in rivals.items()]),
        "## Sabiá's false rollbacks, for every null",
        table(["null", "share (bound)"], [[name, figures.share(count, total)] for name, count, total in nulls]),
        "## Canaries whose requests fail more often: share detected, median time, failed requests until then",
        table(["rps", "failing", _NAME, *beside], found["detections"]["rows"]),
        late,
        "## Slower canaries: share detected, median time",
        table(["", _NAME, "Flagger, p99 <= 500 ms", "p99 <= 1.2 x stable", "Mann-Whitney peeking"], found["latencies"]),
        "## Canaries that predict differently: share detected, median time",
        table(["", _NAME, "chi-square peeking", "PSI > 0.2"], found["shifts"]),
        "## Healthy canaries: promoted within two hours",
        table(["rps", "failing", "promoted", "median, s", "rolled back"], found["promotions"]),
        "## Canaries at the margin of 1 percentage point: wrongly promoted (beta = 5 %)",
        table(["", "promoted", "of", "share (bound)"], found["margins"]),
        "## Mirrored pairs until a disagreement is detected",
        table(["disagreement", "detected", "median pairs"], found["mirrored"]),
        "## Forecast and realised median, seconds",
        table(
            ["cell", "verdict", "forecast", "realised"],
            [[a, b, f"{c:,.0f}", f"{d:,.0f}"] for a, b, c, d in found["detections"]["pairs"]],
        ),
        "## Cost of a look",
        table(["", ""], [[name, f"{value:,.2f}"] for name, value in cost.items()]),
    ]
    text = "\n\n".join(parts) + "\n"
    (folder / PAGE).write_text(text)
    return text, promised
