"""`python -m benchmarks.monitoring.drift`: how often drift is reported with drift and without.

Worlds are drawn at random: training rows of thirty features, normal, skewed and counted, and a prediction; served rows
of the same world, with or without one feature moved by half a standard deviation. Next to our rule are the defaults of
other tools: a fixed threshold of the index, and a test at 5 % for each feature.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from benchmarks.rollouts.figures import lower, table, upper
from sabia.monitoring import drift

Array = NDArray[np.float64]

TRAINED = 455
FEATURES = 30
SHIFT = 0.5


def _draw(source: np.random.Generator, kind: int, rows: int) -> Array:
    if kind == 0:
        return source.normal(size=rows)
    return np.exp(0.5 * source.normal(size=rows)) if kind == 1 else source.poisson(8, size=rows).astype(np.float64)


class World:
    """Training rows of one model, and as many served ones as are asked for."""

    def __init__(self, source: np.random.Generator) -> None:
        self._source = source
        self.trained = [_draw(source, at % 3, TRAINED) for at in range(FEATURES)]
        self.trained.append(self._prediction(self.trained))
        deciles = np.linspace(0, 1, 11)[1:-1]
        self.edges = [np.unique(np.quantile(values, deciles)) for values in self.trained[:-1]]
        self.edges.append(np.linspace(0, 1, 21)[1:-1])

    def served(self, rows: int, moved: float) -> list[Array]:
        """Rows of this world; the first feature shifted by that many standard deviations."""
        values = [_draw(self._source, at % 3, rows) for at in range(FEATURES)]
        prediction = self._prediction(values)
        values[0] = values[0] + moved
        return [*values, prediction]

    def binned(self, at: int, values: Array) -> list[int]:
        """Counts by bin of one feature."""
        edges = self.edges[at]
        found: list[int] = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).tolist()
        return found

    @staticmethod
    def _prediction(values: list[Array]) -> Array:
        return np.asarray(1 / (1 + np.exp(-2 * values[3])), dtype=np.float64)


Rule = Callable[[World, list[Array]], list[bool]]


def ours(world: World, served: list[Array]) -> list[bool]:
    """Index and shift against thresholds that know how many rows there are."""
    pairs = {
        str(at): (world.binned(at, values), world.binned(at, world.trained[at])) for at, values in enumerate(served)
    }
    return [bool(found.drifted) for found in drift.compare(pairs)]


def fixed_index(world: World, served: list[Array]) -> list[bool]:
    """Index over 0.10."""
    return [
        bool(
            drift.stability_index(np.array(world.binned(at, values)), np.array(world.binned(at, world.trained[at])))
            > drift.MINIMUM_INDEX
        )
        for at, values in enumerate(served)
    ]


def each_at_five_percent(world: World, served: list[Array]) -> list[bool]:
    """Kolmogorov and Smirnov's test for each feature, p < 0.05."""
    return [bool(ks_2samp(values, world.trained[at]).pvalue < 0.05) for at, values in enumerate(served)]


RULES: dict[str, Rule] = {
    "Sabiá": ours,
    "index over 0.10": fixed_index,
    "KS test, p < 0.05 each": each_at_five_percent,
}


def main() -> int:
    """Run and print; 1 when a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=40, help="worlds of training rows")
    parser.add_argument("--reports", type=int, default=25, help="reports in each")
    parser.add_argument("--rows", type=int, nargs="*", default=[50, 100, 200, 500, 1000, 10_000])
    arguments = parser.parse_args()
    lines, held = [], True
    for rows in arguments.rows:
        total = arguments.worlds * arguments.reports
        hits, falses = dict.fromkeys(RULES, 0), dict.fromkeys(RULES, 0)
        source = np.random.default_rng(rows)
        for _ in range(arguments.worlds):
            world = World(source)
            for _ in range(arguments.reports):
                served = world.served(rows, SHIFT)
                for name, rule in RULES.items():
                    first, *others = rule(world, served)
                    hits[name] += first
                    falses[name] += any(others)
        lines += [
            [f"{rows:,}", name, f"{hits[name] / total:.3f} (≥ {lower(hits[name], total):.3f})",
             f"{falses[name] / total:.3f} (≤ {upper(falses[name], total):.3f})"]
            for name in RULES
        ]  # fmt: skip
        held &= rows < 200 or hits["Sabiá"] / total >= 0.95
        held &= lower(falses["Sabiá"], total) <= drift.FALSE_ALARMS
        print(f"{rows} rows done", file=sys.stderr, flush=True)
    print(table(["served rows", "rule", f"reports a shift of {SHIFT} sd", "reports anything else"], lines))
    print(
        f"promised from 200 rows on ≥ 0.95, and anything else ≤ {drift.FALSE_ALARMS}: {'held' if held else 'NOT HELD'}"
    )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
