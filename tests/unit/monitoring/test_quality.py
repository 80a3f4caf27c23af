"""Quality by labels, against scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from sabia.monitoring import quality
from sabia.monitoring.quality import binary

ROWS = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, n, elements=st.floats(0, 1, allow_subnormal=False)),
        arrays(np.float64, n, elements=st.sampled_from([0.0, 1.0])),
    )
)


@pytest.mark.slow
@given(ROWS)
def test_the_figures_are_those_of_scikit_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    predictions, labels = rows
    found = quality.measure(predictions, labels)
    assert found is not None
    assert found.accuracy.value == pytest.approx(accuracy_score(labels, predictions >= 0.5))
    assert found.brier_score == pytest.approx(brier_score_loss(labels, predictions))
    assert found.log_loss == pytest.approx(
        log_loss(labels, np.clip(predictions, 1e-15, 1 - 1e-15), labels=[0, 1]), rel=1e-6
    )
    assert sum(each.rows for each in found.calibration) == len(labels)
    if len(set(labels)) == 2:
        assert found.auc is not None
        assert found.auc.value == pytest.approx(roc_auc_score(labels, predictions))
        assert found.auc.low <= found.auc.value <= found.auc.high
        assert (found.curve[0], found.curve[-1]) == ((0.0, 0.0), (1.0, 1.0))
    else:
        assert found.auc is None
        assert found.curve == []


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_share_has_wilsons_interval(count: int, more: int) -> None:
    total = count + more
    found, expected = quality.share(count, total), binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_the_auc_has_its_coverage() -> None:
    source, covered = np.random.default_rng(2), 0
    truth = 0.7602499389065233  # Phi(1 / sqrt(2)): two normal populations one standard deviation apart
    for _ in range(600):
        labels = (np.arange(200) % 2).astype(np.float64)
        scores = 1 / (1 + np.exp(-(source.normal(size=200) + labels)))
        found = binary.auc(scores, labels == 1)
        assert found is not None
        covered += found.low <= truth <= found.high
    assert 0.925 <= covered / 600 <= 0.975


def test_the_interval_of_a_difference_has_its_coverage() -> None:
    source, covered = np.random.default_rng(3), 0
    for _ in range(1000):
        first, second = source.binomial(80, 0.9), source.binomial(60, 0.8)
        found = quality.difference(quality.share(first, 80), quality.share(second, 60))
        covered += found.low <= -0.1 <= found.high
    assert 0.93 <= covered / 1000 <= 0.98


def test_without_labels_there_is_no_quality() -> None:
    assert quality.measure(np.empty(0), np.empty(0)) is None
