"""The page that the benchmark writes: promises first, then the tables they come from, and plots."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rollouts.figures import table
from benchmarks.serving.contenders import CONTENDERS

PAGE = "serving.md"
_MILLISECONDS = 1000
_MEBIBYTE = 1024 * 1024
_ABOUT = (
    "Medians of {rounds} alternating rounds of {seconds} s; the server on one core, wrk with 16 connections on the"
    " other; the whole run took {took} s. Ratios are of the same round, with minimum and maximum."
)
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """One promise and its measurement; `held` is None when it was not measured."""

    promise: str
    seen: str
    held: bool | None


class Cells:
    """The closed loop's figures by contender, model and rows: medians over the rounds, and their spread."""

    def __init__(self, measured: list[dict[str, Any]]) -> None:
        self._lines: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
        for line in measured:
            self._lines[line["contender"], line["model"], line["rows"]].append(line)

    def __contains__(self, cell: tuple[str, str, int]) -> bool:
        return cell in self._lines

    def median(self, contender: str, model: str, rows: int, what: str = "requests_per_second") -> float:
        """The median over the rounds."""
        return float(median(line[what] for line in self._lines[contender, model, rows]))

    def failed(self, contender: str, model: str, rows: int) -> int:
        """Failed requests, of all rounds."""
        return sum(line["failed"] for line in self._lines[contender, model, rows])

    def ratio(self, model: str, rows: int, other: str, what: str = "requests_per_second") -> tuple[float, float, float]:
        """Ours divided by another's: the median over the rounds, the least and the most."""
        ours = {line["round"]: line[what] for line in self._lines["sabia", model, rows]}
        found = sorted(ours[line["round"]] / line[what] for line in self._lines[other, model, rows])
        return median(found), found[0], found[-1]

    def others(self, model: str, rows: int, *, floors: bool = False) -> list[str]:
        """The other servers measured there."""
        return [
            key
            for key, one in CONTENDERS.items()
            if key != "sabia" and one.floor is floors and (key, model, rows) in self
        ]


def write(folder: Path, facts: Facts) -> str:
    """Write the page and its plots, and return the page."""
    cells = Cells(facts["closed"])
    models = list(dict.fromkeys(line["model"] for line in facts["closed"]))
    parts = [
        "# Serving: Sabiá and other servers",
        _ABOUT.format(**facts),
        table(["promise", "measured", "held"], [[t.promise, t.seen, _held(t)] for t in targets(facts)]),
    ]
    for model in models:
        rows = sorted({line["rows"] for line in facts["closed"] if line["model"] == model})
        for count in rows:
            parts += [
                f"## {model}, {count:,} row{'s' if count > 1 else ''} a request",
                _closed_table(cells, model, count),
            ]
    parts += [
        "## Start-up and memory",
        _starting_table(cells, models),
        "## Open loop, single rows",
        _open_table(facts),
    ]
    parts += ["## ONNX Runtime in a loop", _loop_table(facts)]
    text = "\n\n".join(parts) + "\n"
    (folder / PAGE).write_text(text)
    _plot(folder, cells, models)
    return text


def targets(facts: Facts) -> list[Target]:
    """Every promise with its measurement."""
    cells = Cells(facts["closed"])
    return [
        _at_least(cells, "linear", 1, "kserve", 8.0),
        _best_rival(cells),
        _at_least(cells, "linear", 1, "floor-uvicorn", 0.75),
        _at_least(cells, "linear", 1, "floor-ours", 0.75),
        *_open_targets(facts),
        _at_least(cells, "forest", 1, "kserve", 100.0),
        _at_least(cells, "linear", 1000, "kserve", 10.0),
        *(_of_onnxruntime(cells, facts, model) for model in facts["onnxruntime"]),
        _cold_start(cells),
        _memory(cells),
        _scaling(facts),
    ]


def _name(key: str) -> str:
    return CONTENDERS[key].title


def _at_least(cells: Cells, model: str, rows: int, other: str, wanted: float) -> Target:
    promise = f"{model}, {rows:,} row{'s' if rows > 1 else ''}: ≥ {wanted:g} x {_name(other)}"
    if ("sabia", model, rows) not in cells or (other, model, rows) not in cells:
        return Target(promise, "not measured", None)
    found = cells.ratio(model, rows, other)
    rates = cells.median("sabia", model, rows), cells.median(other, model, rows)
    return Target(promise, f"{_spread(found)} ({rates[0]:,.0f} / {rates[1]:,.0f} a second)", found[0] >= wanted)


def _best_rival(cells: Cells) -> Target:
    promise = "linear, 1 row: ≥ 5 x the best of the others"
    rivals = cells.others("linear", 1)
    if not rivals:
        return Target(promise, "not measured", None)
    best = max(rivals, key=lambda key: cells.median(key, "linear", 1))
    found = cells.ratio("linear", 1, best)
    return Target(promise, f"{_spread(found)} ({_name(best)})", found[0] >= 5)


def _open_targets(facts: Facts) -> list[Target]:
    found = []
    for share, words in ((1.0, "KServe's maximum"), (0.5, "half of KServe's maximum")):
        promise = f"open loop at {words}: p99 ≤ 0.35 of KServe's"
        ours, theirs = (_open_median(facts, key, share, "p99") for key in ("sabia", "kserve"))
        if ours is None or theirs is None:
            found.append(Target(promise, "not measured", None))
            continue
        seen = f"{ours / theirs:.3f} ({ours * _MILLISECONDS:.2f} ms / {theirs * _MILLISECONDS:.2f} ms)"
        found.append(Target(promise, seen, ours / theirs <= 0.35))
    return found


def _open_median(facts: Facts, contender: str, share: float, what: str) -> float | None:
    found = [line[what] for line in facts["open"] if (line["contender"], line["share"]) == (contender, share)]
    return median(found) if found else None


def _of_onnxruntime(cells: Cells, facts: Facts, model: str) -> Target:
    ours, alone = 1000 * cells.median("sabia", model, 1000), facts["onnxruntime"][model]["1000"]
    seen = f"{ours / alone:.2f} ({ours:,.0f} / {alone:,.0f} rows a second)"
    return Target(f"{model}, 1,000 rows: ≥ 0.5 of ONNX Runtime in a loop", seen, ours / alone >= 0.5)


def _cold_start(cells: Cells) -> Target:
    promise = "first response ≤ 0.8 s after exec, and ≤ half of the best other's"
    rivals = cells.others("linear", 1)
    if not rivals:
        return Target(promise, "not measured", None)
    ours = cells.median("sabia", "linear", 1, "cold_start")
    best = min(rivals, key=lambda key: cells.median(key, "linear", 1, "cold_start"))
    theirs = cells.median(best, "linear", 1, "cold_start")
    return Target(promise, f"{ours:.2f} s; {_name(best)} {theirs:.2f} s", ours <= 0.8 and ours <= theirs / 2)


def _memory(cells: Cells) -> Target:
    promise = "memory ≤ 110 MB, and ≤ half of KServe's"
    if ("kserve", "linear", 1000) not in cells:
        return Target(promise, "not measured", None)
    ours, theirs = (cells.median(key, "linear", 1000, "memory") / _MEBIBYTE for key in ("sabia", "kserve"))
    return Target(promise, f"{ours:.0f} MiB; KServe {theirs:.0f} MiB", ours * 1.048576 <= 110 and ours <= theirs / 2)


def _scaling(facts: Facts) -> Target:
    promise = "two workers ≥ 1.8 x one, each with the same share of a core"
    found = facts["scaling"]
    if found is None:
        return Target(promise, "not measured: needs root, for quotas of CPU time", None)
    ratio = found["two"] / found["one"]
    seen = f"{ratio:.2f} ({found['two']:,.0f} / {found['one']:,.0f} a second, each worker {100 * found['share']:.0f} %)"
    return Target(promise, seen, ratio >= 1.8)


def _held(target: Target) -> str:
    return {True: "yes", False: "no", None: "-"}[target.held]


def _spread(found: tuple[float, float, float]) -> str:
    digits = 2 if found[0] < 10 else 0
    return f"{found[0]:.{digits}f} ({found[1]:.{digits}f} to {found[2]:.{digits}f})"


def _closed_table(cells: Cells, model: str, rows: int) -> str:
    keys = ["sabia", *cells.others(model, rows), *cells.others(model, rows, floors=True)]
    lines = []
    for key in keys:
        p50, p99, p999 = (cells.median(key, model, rows, what) * _MILLISECONDS for what in ("p50", "p99", "p999"))
        ratio = "" if key == "sabia" else _spread(cells.ratio(model, rows, key))
        lines.append(
            [
                _name(key),
                f"{cells.median(key, model, rows):,.0f}",
                ratio,
                f"{p50:.2f}",
                f"{p99:.2f}",
                f"{p999:.2f}",
                f"{cells.median(key, model, rows, 'cpu_per_thousand'):.3f}",
                str(cells.failed(key, model, rows)),
            ]
        )
    head = ["", "requests a second", "Sabiá / other", "p50 ms", "p99 ms", "p99.9 ms", "CPU s per 1,000", "failed"]
    return table(head, lines)


def _starting_table(cells: Cells, models: list[str]) -> str:
    lines = []
    for key in ["sabia", *cells.others("linear", 1)]:
        line = [_name(key)]
        for model in models:
            if (key, model, 1) not in cells:
                line.append("")
                continue
            rows = 1000 if (key, model, 1000) in cells else 1
            memory = cells.median(key, model, rows, "memory") / _MEBIBYTE
            line.append(f"{cells.median(key, model, 1, 'cold_start'):.2f} s, {memory:.0f} MiB")
        lines.append(line)
    return table(["first response, and memory after the load", *models], lines)


def _open_table(facts: Facts) -> str:
    lines = []
    for share in (1.0, 0.5):
        for key in ("sabia", "kserve"):
            rate = _open_median(facts, key, share, "rate")
            if rate is None:
                continue
            quantiles = [_open_median(facts, key, share, what) or 0.0 for what in ("p50", "p99", "p999")]
            lines.append([_name(key), f"{rate:,.0f}", *(f"{value * _MILLISECONDS:.2f}" for value in quantiles)])
    return table(["", "requests a second", "p50 ms", "p99 ms", "p99.9 ms"], lines)


def _loop_table(facts: Facts) -> str:
    lines = [
        [model, *(f"{rates[count]:,.0f}" for count in ("1", "32", "1000"))]
        for model, rates in facts["onnxruntime"].items()
    ]
    return table(["rows a second", "1 row", "32 rows", "1,000 rows"], lines)


def _plot(folder: Path, cells: Cells, models: list[str]) -> None:
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, len(models), figsize=(4.2 * len(models), 3.2), layout="constrained", squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        keys = ["sabia", *cells.others(model, 1)][::-1]
        axis.barh([_name(key) for key in keys], [cells.median(key, model, 1) for key in keys])
        axis.set_xscale("log")
        axis.set_title(f"{model}, single rows")
        axis.set_xlabel("requests a second, one core (log)")
    figure.savefig(folder / "throughput.svg")
    plt.close(figure)
