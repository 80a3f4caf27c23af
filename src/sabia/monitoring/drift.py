"""Whether what is served looks like what was trained on: by counts of bins alone. Pure; knows no store and no clock.

Two statistics are compared with what they would be without drift:

- the population stability index, sum of (p - q) ln(p / q) over the bins, which sees any change of shape;
- the shift: how likely a served value exceeds a training value, ties counted half, less one half (Mann and Whitney),
  which sees a move to one side and needs half the rows for it.

Fixed thresholds are wrong for few rows: of 100 rows of ten bins without drift, every third set has an index over 0.10.
Here a threshold is the larger of what matters in practice and of the quantile that chance alone exceeds with a
probability that all of them together share (`FALSE_ALARMS` a report). Chance is that of both sides: the training rows
are a sample too. For the index, training counts c of a bin stand for a share that is Dirichlet(c + 1/2), and the served
counts are drawn from that; for bins whose edges are quantiles of the training rows that is their exact law up to the
half. For the shift it is the normal law with the variance of Mann and Whitney's statistic, corrected for ties.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The probability that a report on rows without drift names anything at all.
FALSE_ALARMS = 0.01
# Fewer rows get no verdict.
FEWEST_ROWS = 50
# What is not worth a word however certain it is: the index below which practice speaks of no change, and the move of a
# normal value by a quarter of its standard deviation, for which P(served > trained) is 0.57.
LEAST_INDEX = 0.10
LEAST_SHIFT = 0.07
# Enough for a quantile of some in ten thousand.
_DRAWS = 100_000
# Where chance alone stays so far below what matters, it need not be drawn.
_CERTAIN = 0.7


class Compared(msgspec.Struct, frozen=True):
    """One feature, or the prediction, as served and as trained.

    Attributes:
        counts, expected: served and training rows by bin.
        index, index_threshold: the population stability index, and what it must exceed.
        shift, shift_threshold: P(served > trained) - 1/2, negative when values became smaller, and what its size must
            exceed.
        drifted: whether one of them does; None when there are too few rows for a verdict.
    """

    name: str
    counts: list[int]
    expected: list[int]
    index: float
    index_threshold: float | None
    shift: float
    shift_threshold: float | None
    drifted: bool | None


def compare(pairs: Mapping[str, tuple[Sequence[int], Sequence[int]]], distinct: int | None = None) -> list[Compared]:
    """Compare everything of one report.

    Args:
        pairs: for each name, served and training rows by bin; the same number of bins, at least one.
        distinct: how many different rows were served; chance is that of so many. A row that is asked again tells
            nothing new of the world, as when a load test repeats a few. It is not looked at where the bins are so few
            that different cases have the same row.
    """
    level = FALSE_ALARMS / (2 * max(1, len(pairs)))
    if distinct is not None and not _tells_cases_apart(pairs):
        distinct = None
    return [_compare(name, served, trained, level, distinct) for name, (served, trained) in pairs.items()]


def names(compared: Sequence[Compared]) -> list[str]:
    """The names of what has drifted."""
    return [found.name for found in compared if found.drifted]


def is_judged(compared: Sequence[Compared]) -> bool:
    """Whether there were rows enough for a verdict on anything."""
    return any(found.drifted is not None for found in compared)


def _tells_cases_apart(pairs: Mapping[str, tuple[Sequence[int], Sequence[int]]]) -> bool:
    """Whether there are a million times more cells of bins than rows."""
    most = max((sum(served) for served, _ in pairs.values()), default=0)
    cells = sum(math.log10(len(trained)) for _, trained in pairs.values())
    return cells >= math.log10(max(most, 1)) + 6


def stability_index(served: NDArray[np.int64], trained: NDArray[np.int64]) -> Array:
    """The population stability index of counts of shape (..., bins); half a row is added to each bin."""
    bins = served.shape[-1]
    p = (served + 0.5) / (served.sum(axis=-1, keepdims=True) + bins / 2)
    q = (trained + 0.5) / (trained.sum(axis=-1, keepdims=True) + bins / 2)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1), dtype=np.float64)


def shift_of(served: NDArray[np.int64], trained: NDArray[np.int64]) -> float:
    """P(served > trained) + P(equal) / 2 - 1/2, by bins; 0 when one side is empty."""
    n, m = int(served.sum()), int(trained.sum())
    if n == 0 or m == 0:
        return 0.0
    below = np.cumsum(trained) - trained / 2
    return float((served * below).sum() / n / m - 0.5)


def _compare(name: str, served: Sequence[int], trained: Sequence[int], level: float, distinct: int | None) -> Compared:
    counts, expected = np.asarray(served, dtype=np.int64), np.asarray(trained, dtype=np.int64)
    n = int(counts.sum())
    n = n if distinct is None else min(n, distinct)
    index, shift = float(stability_index(counts, expected)), shift_of(counts, expected)
    if n < FEWEST_ROWS:
        return Compared(name, counts.tolist(), expected.tolist(), index, None, shift, None, None)
    most_index = index_threshold(n, expected, level)
    most_shift = shift_threshold(n, counts, expected, level)
    drifted = index > most_index or abs(shift) > most_shift
    return Compared(name, counts.tolist(), expected.tolist(), index, most_index, shift, most_shift, drifted)


def index_threshold(n: int, trained: NDArray[np.int64], level: float) -> float:
    """What the index of n rows exceeds without drift with probability `level`, and at least `LEAST_INDEX`."""
    # Which bin is which does not matter to the index: features with the same counts share what was drawn.
    return _index_threshold(n, tuple(sorted(trained.tolist())), level)


@lru_cache(maxsize=4096)
def _index_threshold(n: int, trained: tuple[int, ...], level: float) -> float:
    bins, m = len(trained), sum(trained)
    if bins < 2:
        return LEAST_INDEX
    # The index is about (1/n + 1/m) times a chi-square of bins - 1 degrees of freedom; Wilson and Hilferty's quantile.
    z = NormalDist().inv_cdf(1 - level)
    spread = 2 / (9 * (bins - 1))
    about = (1 / n + 1 / m) * (bins - 1) * (1 - spread + z * math.sqrt(spread)) ** 3
    if min(trained) > 0 and about < _CERTAIN * LEAST_INDEX:
        return LEAST_INDEX
    source = np.random.default_rng(0)
    reference = np.asarray(trained, dtype=np.int64)
    shares = source.dirichlet(reference + 0.5, size=_DRAWS)
    drawn = stability_index(source.multinomial(n, shares), reference)
    # What is drawn once is used for every report: two standard errors on the careful side.
    expected = level * (_DRAWS + 1)
    exceeding = max(1, int(expected - 2 * math.sqrt(expected)))
    return max(LEAST_INDEX, float(np.partition(drawn, -exceeding)[-exceeding]))


def shift_threshold(n: int, served: NDArray[np.int64], trained: NDArray[np.int64], level: float) -> float:
    """What the size of the shift of n rows exceeds without drift with probability `level`, at least `LEAST_SHIFT`."""
    m = int(trained.sum())
    ties = np.asarray(served + trained, dtype=np.float64)
    unequal = 1 - float(((ties / ties.sum()) ** 3).sum())
    variance = max(unequal, 0.0) * (1 / n + 1 / m) / 12
    return max(LEAST_SHIFT, NormalDist().inv_cdf(1 - level / 2) * math.sqrt(variance))
