"""Numbers with their bounds, tables and plots."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy.stats import beta

from benchmarks.rollouts.ours import Outcome

LEVEL = 0.99


def upper(count: int, total: int, level: float = LEVEL) -> float:
    """The one-sided upper Clopper-Pearson bound of a share."""
    return 1.0 if count >= total else float(beta.ppf(level, count + 1, total - count))


def lower(count: int, total: int, level: float = LEVEL) -> float:
    """The one-sided lower Clopper-Pearson bound of a share."""
    return 0.0 if count == 0 else float(beta.ppf(1 - level, count, total - count + 1))


def share(count: int, total: int) -> str:
    """A share in percent with its upper bound."""
    return f"{count / total:.2%} (≤ {upper(count, total):.2%})"


def median(times: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    """The median over all rollouts; infinite where most never came to it."""
    return float(np.median(np.where(np.isnan(times), np.inf, times)))


def detection(outcome: Outcome) -> str:
    """Share of rollouts that were rolled back, median time, failed requests of the canary until the end."""
    found = outcome.is_rolled_back
    time = median(outcome.rolled_back)
    failed = f", {outcome.failed.mean():,.1f} failed" if len(outcome.failed) else ""
    return f"{found.mean():.1%}, {'-' if np.isinf(time) else f'{time:,.0f} s'}{failed}"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def bars(path: Path, title: str, groups: dict[str, dict[str, float]], *, limit: float) -> None:
    """One bar for each rule: the worst share over all nulls, on a logarithmic scale, with the promised limit."""
    mpl.rcParams["svg.hashsalt"] = "sabia"
    names = list(groups)
    worst = [max(groups[name].values()) for name in names]
    figure = Figure(figsize=(9, 0.38 * len(names) + 1.2), layout="constrained")
    axis = figure.subplots()
    colours = ["#0a6e5c" if name.startswith("Sabiá") else "#8a8a8a" for name in names]
    axis.barh(range(len(names)), [max(value, 1e-4) for value in worst], color=colours)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.set_xlim(1e-4, 1.5)
    axis.axvline(limit, color="#b00020", linewidth=1, linestyle="--")
    axis.set_xlabel(title)
    for at, value in enumerate(worst):
        axis.text(max(value, 1e-4) * 1.1, at, f"{value:.1%}", va="center", fontsize=8)
    figure.savefig(path, metadata={"Date": None})
