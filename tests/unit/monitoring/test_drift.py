"""Drift by counts of bins: its power, and its rate of false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from sabia.monitoring import drift

TRAINED = 455
FEATURES = 31
COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(1, 500)), min_size=2, max_size=20)


def binned(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts by bin, closed on the left."""
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)


def deciles(values: np.ndarray) -> np.ndarray:
    """As reference.json has them."""
    return np.unique(np.quantile(values, np.linspace(0, 1, 11)[1:-1]))


@pytest.mark.slow
@pytest.mark.parametrize("n", [50, 100, 200, 500, 5000])
def test_a_report_on_rows_without_drift_names_nothing_in_ninety_nine_of_a_hundred(n: int) -> None:
    source = np.random.default_rng(n)
    reports, named = 600, 0
    # One world of training rows for every ten reports: thresholds know the counts, not the rows.
    for _ in range(reports // 10):
        trained = [source.normal(size=TRAINED) for _ in range(FEATURES)]
        edges = [deciles(values) for values in trained]
        for _ in range(10):
            served = [binned(source.normal(size=n), each) for each in edges]
            pairs = {
                str(at): (counts.tolist(), binned(trained[at], edges[at]).tolist()) for at, counts in enumerate(served)
            }
            named += any(found.drifted for found in drift.compare(pairs))
    # Of 600 reports at one in a hundred, more than 14 come with a probability of 0.1 %.
    assert named <= 14


@pytest.mark.slow
@pytest.mark.parametrize(("n", "trained"), [(200, [45] * 10), (200, [400, 30, 20, 5, 1, 0])])
def test_thresholds_of_thousands_of_features_hold_far_in_the_tail(n: int, trained: list[int]) -> None:
    source, counts, features = np.random.default_rng(7), np.array(trained), 3000
    level = drift.FALSE_ALARMS / (2 * features)
    threshold = max(drift.MINIMUM_INDEX, drift.index_by_chance(n, counts, level))
    exceeding, draws = 0, 3_000_000
    for _ in range(draws // 100_000):
        shares = source.dirichlet(counts + 0.5, size=100_000)
        exceeding += int((drift.stability_index(source.multinomial(n, shares), counts) > threshold).sum())
    # Five are expected at this level; more than 13 come with a probability of 0.07 %.
    assert exceeding <= 13


def test_thousands_of_features_without_drift_are_compared_in_seconds_and_none_is_named() -> None:
    source, pairs = np.random.default_rng(8), {}
    for at in range(5000):
        trained = source.multinomial(TRAINED, np.full(10, 0.1))
        shares = source.dirichlet(trained + 0.5)
        pairs[str(at)] = (source.multinomial(200, shares).tolist(), trained.tolist())
    pairs["moved"] = (source.multinomial(200, [0.4, *[0.6 / 9] * 9]).tolist(), [45] * 10)
    assert drift.names(drift.compare(pairs)) == ["moved"]


def test_a_shift_of_half_a_standard_deviation_is_flagged_from_two_hundred_rows_on() -> None:
    source = np.random.default_rng(5)
    flagged, worlds = 0, 300
    for _ in range(worlds):
        trained = source.normal(size=TRAINED)
        edges = deciles(trained)
        pair = (binned(source.normal(size=200) + 0.5, edges).tolist(), binned(trained, edges).tolist())
        same = binned(trained, edges).tolist()
        found = drift.compare({"moved": pair} | {str(at): (same, same) for at in range(FEATURES - 1)})
        flagged += bool(found[0].drifted)
        assert not any(other.drifted for other in found[1:])
    # At 0.95, fewer than 271 of 300 come with a probability of 0.1 %; it is 0.97.
    assert flagged >= 285


def test_a_change_of_spread_alone_is_flagged_by_the_index() -> None:
    source = np.random.default_rng(6)
    trained = source.normal(size=TRAINED)
    edges = deciles(trained)
    (found,) = drift.compare(
        {"x": (binned(2 * source.normal(size=1000), edges).tolist(), binned(trained, edges).tolist())}
    )
    assert found.drifted
    assert found.index_threshold is not None
    assert found.index > found.index_threshold
    assert found.shift == pytest.approx(0, abs=0.07)


@pytest.mark.parametrize(("n", "verdict"), [(0, None), (49, None), (50, True)])
def test_too_few_rows_get_no_verdict(n: int, verdict: bool | None) -> None:
    (found,) = drift.compare({"x": ([n, 0, 0, 0], [100, 100, 100, 100])})
    assert found.drifted is verdict
    assert (found.index_threshold is None) is (verdict is None)


def test_changes_below_the_minimum_effect_are_not_drift_with_any_number_of_rows() -> None:
    (found,) = drift.compare({"x": ([270_000, 250_000, 250_000, 230_000], [10**6] * 4)})
    assert found.drifted is False
    assert (found.index_threshold, found.shift_threshold) == (drift.MINIMUM_INDEX, drift.MINIMUM_SHIFT)


@given(COUNTS)
def test_the_shift_is_the_statistic_of_mann_and_whitney(counts: list[tuple[int, int]]) -> None:
    served, trained = (np.array(side) for side in zip(*counts, strict=True))
    if served.sum() == 0:
        assert drift.shift_of(served, trained) == 0
        return
    bins = np.arange(len(served))
    u = mannwhitneyu(np.repeat(bins, served), np.repeat(bins, trained)).statistic
    assert drift.shift_of(served, trained) == pytest.approx(u / served.sum() / trained.sum() - 0.5, abs=1e-9)


@given(COUNTS)
def test_the_index_is_symmetric_and_never_negative(counts: list[tuple[int, int]]) -> None:
    served, trained = (np.array(side) for side in zip(*counts, strict=True))
    index = drift.stability_index(served, trained)
    assert index >= 0
    assert index == pytest.approx(float(drift.stability_index(trained, served)))
