"""Drift of served rows from training rows, by counts of bins alone. Pure: no store, no clock.

Two statistics are compared with their distributions without drift:

- the population stability index, sum of (p - q) ln(p / q) over the bins, which detects any change of shape;
- the shift, P(served > trained) - 1/2 with ties counted half (Mann and Whitney), which detects a move to one side and
  needs half the rows for it. Categories have no order, and no shift; missing values are a bin of the index.

Fixed thresholds are wrong for few rows: of 100 rows in ten bins without drift, every third sample has an index over
0.10. Here a threshold is the larger of the minimum effect and of what chance exceeds with a small probability, shared
by all features and both statistics (`FALSE_ALARMS` for a report). Chance includes that of the training rows, which are
a sample too. For the index, training counts c of a bin stand for a share that is Dirichlet(c + 1/2), from which the
served counts are drawn; for bins whose edges are quantiles of the training rows this is the exact distribution up to
the half. For the shift it is normal with the variance of Mann and Whitney's statistic, corrected for ties.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

# The probability that a report on rows without drift names any feature.
FALSE_ALARMS = 0.01
# With fewer rows there is no verdict.
MINIMUM_ROWS = 50
# The minimum effects: an index below which practice sees no change, and the move of a normal value by a quarter of its
# standard deviation, for which P(served > trained) is 0.57.
MINIMUM_INDEX = 0.10
MINIMUM_SHIFT = 0.07
# Enough for a quantile of a few in ten thousand.
_DRAWS = 100_000
# Chance this far below the minimum effect is not simulated.
_CERTAIN = 0.7
# The smallest probability whose quantile the draws resolve. More than fifty features need smaller ones: the quantile of
# a larger one, from fewer draws, is then extrapolated by the ratio of the quantiles of chi-square, whose tail is
# lighter; hence the margin.
_RESOLVED = 1e-4
_EXTRAPOLATED, _FEWER_DRAWS, _MARGIN = 1e-3, 30_000, 1.1


class FeatureDrift(msgspec.Struct, frozen=True):
    """One feature, or the prediction, beside its training rows.

    Attributes:
        counts, expected: served and training rows by bin.
        index, index_threshold: the population stability index and its threshold.
        shift, shift_threshold: P(served > trained) - 1/2, negative when values became smaller, and the threshold of its
            size; missing values are left out. None for values without an order.
        drifted: the verdict; it and both thresholds are None when there are too few rows.
        changed: the bin that contributes most to the index, if it has a name: a category, "other" or "missing".
    """

    name: str
    counts: list[int]
    expected: list[int]
    index: float
    index_threshold: float | None
    shift: float | None
    shift_threshold: float | None
    drifted: bool | None
    changed: str = ""


class Pair(NamedTuple):
    """Served and training rows by bin; the same number of bins, at least one.

    `ordered` is the number of leading bins that have an order, all by default. `names` are those of the bins; a bin in
    an order has none.
    """

    served: Sequence[int]
    trained: Sequence[int]
    ordered: int | None = None
    names: Sequence[str] = ()


AnyPair = Pair | tuple[Sequence[int], Sequence[int]]


def compare_feature(name: str, pair: AnyPair, level: float, distinct: int | None = None) -> FeatureDrift:
    """Compare one feature. Its drift is named when a statistic, index or shift, exceeds its threshold.

    A threshold is the larger of the minimum effect and of what chance exceeds with probability `level`. With fewer than
    50 (distinct) rows there is no verdict.
    """
    served, trained, ordered, names = Pair(*pair)
    counts, expected = np.asarray(served, dtype=np.int64), np.asarray(trained, dtype=np.int64)
    total = int(counts.sum())
    rows = total if distinct is None else min(total, distinct)
    index, changed = float(stability_index(counts, expected)), _largest_part(counts, expected, names)
    # Without an order there is no shift.
    values, trained_values = counts[:ordered], expected[:ordered]
    shift = shift_of(values, trained_values) if len(values) else None
    if rows < MINIMUM_ROWS:
        return FeatureDrift(name, counts.tolist(), expected.tolist(), index, None, shift, None, None, changed)
    index_threshold = max(MINIMUM_INDEX, index_by_chance(rows, expected, level, index))
    drifted, shift_threshold = index > index_threshold, None
    present = rows * int(values.sum()) // total
    if shift is not None and present >= MINIMUM_ROWS and trained_values.any():
        shift_threshold = max(MINIMUM_SHIFT, shift_by_chance(present, values, trained_values, level))
        drifted = drifted or abs(shift) > shift_threshold
    return FeatureDrift(
        name,
        counts.tolist(),
        expected.tolist(),
        index,
        index_threshold,
        shift,
        shift_threshold,
        drifted,
        changed,
    )


def compare(pairs: Mapping[str, AnyPair], distinct: int | None = None) -> list[FeatureDrift]:
    """Compare all features of one report.

    Args:
        pairs: by name, served and training rows by bin.
        distinct: the number of different served rows, if known. Chance is then that of this many rows, because a
            repeated row carries no new evidence (a load test may repeat a few). It is ignored where there are so few
            bins that different cases have the same row.
    """
    level = FALSE_ALARMS / (2 * max(1, len(pairs)))
    if distinct is not None and not _bins_identify_rows(pairs):
        distinct = None
    return [compare_feature(name, pair, level, distinct) for name, pair in pairs.items()]


def names(compared: Sequence[FeatureDrift]) -> list[str]:
    """The names of the features that drifted."""
    return [each.name for each in compared if each.drifted]


def is_judged(compared: Sequence[FeatureDrift]) -> bool:
    """Whether any feature has enough rows for a verdict."""
    return any(each.drifted is not None for each in compared)


def stability_index(served: Counts, trained: Counts) -> Array:
    """The population stability index of counts of shape (..., bins); half a row is added to each bin."""
    bins = served.shape[-1]
    p = (served + 0.5) / (served.sum(axis=-1, keepdims=True) + bins / 2)
    q = (trained + 0.5) / (trained.sum(axis=-1, keepdims=True) + bins / 2)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1), dtype=np.float64)


def _largest_part(served: Counts, trained: Counts, names: Sequence[str]) -> str:
    """The name of the bin that contributes most to the index, if it has one."""
    if not len(names) or not served.any():
        return ""
    p = (served + 0.5) / (served.sum() + len(served) / 2)
    q = (trained + 0.5) / (trained.sum() + len(trained) / 2)
    return names[int(np.argmax((p - q) * np.log(p / q)))]


def shift_of(served: Counts, trained: Counts) -> float:
    """P(served > trained) + P(equal) / 2 - 1/2, by bins; 0 when one side is empty."""
    n, m = int(served.sum()), int(trained.sum())
    if n == 0 or m == 0:
        return 0.0
    below = np.cumsum(trained) - trained / 2
    return float((served * below).sum() / n / m - 0.5)


def index_by_chance(rows: int, trained: Counts, level: float, index: float = math.inf) -> float:
    """What the index of `rows` rows exceeds without drift with probability `level`; 0 if far below `MINIMUM_INDEX`.

    `index` is the one that is to be compared. Of many features, those whose index chi-square explains are not
    simulated: chi-square's quantile, which is smaller, decides the same.
    """
    if level < _RESOLVED and len(trained) > 1:
        about = (1 / rows + 1 / int(trained.sum())) * _chi_square_quantile(len(trained) - 1, level)
        if index <= max(MINIMUM_INDEX, about):
            return about
    # The order of the bins does not matter to the index: features with the same counts share one simulation.
    return _index_by_chance(rows, tuple(sorted(trained.tolist())), level)


def shift_by_chance(rows: int, served: Counts, trained: Counts, level: float) -> float:
    """What the size of the shift of `rows` rows exceeds without drift with probability `level`."""
    ties = np.asarray(served + trained, dtype=np.float64)
    unequal = 1 - float(((ties / ties.sum()) ** 3).sum())
    variance = max(unequal, 0.0) * (1 / rows + 1 / int(trained.sum())) / 12
    return NormalDist().inv_cdf(1 - level / 2) * math.sqrt(variance)


def _bins_identify_rows(pairs: Mapping[str, AnyPair]) -> bool:
    """Whether there are a million times more combinations of bins than rows."""
    most = max((sum(pair[0]) for pair in pairs.values()), default=0)
    cells = sum(math.log10(len(pair[1])) for pair in pairs.values())
    return cells >= math.log10(max(most, 1)) + 6


@lru_cache(maxsize=4096)
def _index_by_chance(n: int, trained: tuple[int, ...], level: float) -> float:
    bins, m = len(trained), sum(trained)
    if bins < 2:
        return 0.0
    # The index is about (1/n + 1/m) times a chi-square of bins - 1 degrees of freedom.
    quantile = _chi_square_quantile(bins - 1, level)
    if min(trained) > 0 and (1 / n + 1 / m) * quantile < _CERTAIN * MINIMUM_INDEX:
        return 0.0
    if level >= _RESOLVED:
        return _simulated(n, trained, level, _DRAWS)
    beyond = quantile / _chi_square_quantile(bins - 1, _EXTRAPOLATED)
    return _simulated(n, trained, _EXTRAPOLATED, _FEWER_DRAWS) * beyond * _MARGIN


def _simulated(n: int, trained: tuple[int, ...], level: float, draws: int) -> float:
    source = np.random.default_rng(0)
    reference = np.asarray(trained, dtype=np.int64)
    shares = source.dirichlet(reference + 0.5, size=draws)
    drawn = stability_index(source.multinomial(n, shares), reference)
    # One simulation serves every report: two standard errors on the careful side.
    expected = level * (draws + 1)
    exceeding = max(1, int(expected - 2 * math.sqrt(expected)))
    return float(np.partition(drawn, -exceeding)[-exceeding])


def _chi_square_quantile(freedom: int, level: float) -> float:
    """What chi-square exceeds with probability `level`, by Wilson and Hilferty's approximation."""
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + NormalDist().inv_cdf(1 - level) * math.sqrt(spread)) ** 3
