"""One calibration error, for the manifest of a version and for the reports on it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.contract.calibration import BINS, EDGES, bins, calibration_error
from sabia.monitoring import quality
from sabia.publishing.evaluation import evaluate

# Tenths and their neighbours are where definitions differ; a forest of ten trees predicts little else.
TENTHS = st.integers(0, 10).map(lambda tenths: tenths / 10)
PROBABILITIES = st.one_of(
    st.floats(0, 1),
    TENTHS,
    TENTHS.map(lambda p: float(np.clip(np.nextafter(p, 0), 0, 1))),
    TENTHS.map(lambda p: float(np.clip(np.nextafter(p, 1), 0, 1))),
)
ROWS = st.lists(st.tuples(PROBABILITIES, st.sampled_from([0, 1])), min_size=2, max_size=60)


def test_a_prediction_of_0_7_for_7_positives_in_10_rows_is_calibrated() -> None:
    labels = np.array([1] * 7 + [0] * 3)
    assert calibration_error(np.full(10, 0.7), labels) == pytest.approx(0)
    assert calibration_error(np.full(10, 0.2), labels) == pytest.approx(0.5)


@given(PROBABILITIES)
def test_a_bin_holds_its_lower_edge_and_not_its_upper_one(probability: float) -> None:
    (at,) = bins(np.array([probability]))
    assert EDGES[at] <= probability
    assert probability < EDGES[at + 1] or (at == BINS - 1 and probability == 1)


def test_every_tenth_is_the_lower_edge_of_its_bin() -> None:
    assert bins(np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])).tolist() == [*range(10), 9]


@given(ROWS)
def test_the_error_is_the_mean_gap_of_the_bins_by_their_rows(rows: list[tuple[float, int]]) -> None:
    probabilities, labels = np.array([p for p, _ in rows]), np.array([label for _, label in rows])
    expected = 0.0
    for low, high in itertools.pairwise(EDGES):
        inside = (probabilities >= low) & ((probabilities < high) | (high == 1.0))
        if inside.any():
            expected += inside.mean() * abs(probabilities[inside].mean() - labels[inside].mean())
    assert calibration_error(probabilities, labels) == pytest.approx(expected)


@pytest.mark.slow
@given(ROWS.filter(lambda rows: len({label for _, label in rows}) == 2))
def test_publishing_and_monitoring_report_the_same_error(rows: list[tuple[float, int]]) -> None:
    probabilities, labels = np.array([p for p, _ in rows]), np.array([label for _, label in rows])
    published = evaluate(labels, probabilities, parity_max_error=0.0)
    served = quality.measure(probabilities, labels.astype(float))
    assert served is not None
    assert published.values["calibration_error"] == served.calibration_error
    by_bin = sum(abs(each.predicted - each.observed.value) * each.rows for each in served.calibration)
    assert by_bin / served.rows == pytest.approx(served.calibration_error)
