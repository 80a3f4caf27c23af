"""Quality of classes and of numbers by labels, against scikit-learn; the coverage of the intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss, mean_absolute_error, r2_score, root_mean_squared_error

from sabia.monitoring.quality import measure_classes, measure_values

CLASSES = ["Adelie", "Chinstrap", "Gentoo"]
# Index 3 is a class that the model lacks.
PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=80)
NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@given(PAIRS)
def test_figures_of_classes_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    predicted, labels = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    found = measure_classes(CLASSES, predicted, labels, None)
    assert found is not None
    assert found.accuracy.value == pytest.approx(np.mean(predicted == labels))
    assert found.macro_f1.value == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0))
    assert found.macro_f1.low <= found.macro_f1.value <= found.macro_f1.high
    assert np.sum(found.confusion) == len(pairs)
    assert len(found.names) == len(found.confusion) == len(found.confusion[0])
    assert sum(each.rows for each in found.by_class) == len(pairs)
    assert list(found.scores) == ["accuracy", "macro_f1"]


def test_the_log_loss_of_classes_is_that_of_scikit_learn() -> None:
    source = np.random.default_rng(1)
    probabilities, labels = source.dirichlet(np.ones(3), size=200), source.integers(0, 3, size=200)
    found = measure_classes(CLASSES, probabilities.argmax(axis=1), labels, probabilities[np.arange(200), labels])
    assert found is not None
    assert found.log_loss is not None
    assert found.log_loss.value == pytest.approx(log_loss(labels, probabilities))


def test_a_label_that_the_model_lacks_is_wrong_and_has_no_log_loss() -> None:
    predicted, labels = np.array([0, 1, 2]), np.array([0, 3, 2])
    found = measure_classes(CLASSES, predicted, labels, np.array([0.9, np.nan, 0.8]))
    assert found is not None
    assert found.accuracy.value == pytest.approx(2 / 3)
    assert found.names == [*CLASSES, "other"]
    assert found.log_loss is not None
    assert found.log_loss.value == pytest.approx(-np.log([0.9, 0.8]).mean())


def test_a_confusion_matrix_of_many_classes_keeps_the_most_frequent() -> None:
    labels = np.concatenate([np.arange(300), np.repeat(np.arange(5), 10)])
    found = measure_classes([str(at) for at in range(300)], labels, labels, None)
    assert found is not None
    assert len(found.confusion) == 20
    assert found.names[:5] == ["0", "1", "2", "3", "4"]
    assert found.names[-1] == "the rest"
    assert np.sum(found.confusion) == len(labels)


def test_the_interval_of_macro_f1_has_its_coverage() -> None:
    source, covered = np.random.default_rng(4), 0
    # Labels are uniform; a prediction is right with 0.8, else one of the other two: F1 of each class is 0.8.
    for _ in range(300):
        labels = source.integers(0, 3, size=300)
        wrong = (labels + source.integers(1, 3, size=300)) % 3
        predicted = np.where(source.random(300) < 0.8, labels, wrong)
        found = measure_classes(CLASSES, predicted, labels, None)
        assert found is not None
        covered += found.macro_f1.low <= 0.8 <= found.macro_f1.high
    assert 0.91 <= covered / 300 <= 0.985


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=80))
def test_figures_of_numbers_are_those_of_scikit_learn(pairs: list[tuple[float, float]]) -> None:
    predictions, labels = (np.array(side) for side in zip(*pairs, strict=True))
    found = measure_values(predictions, labels)
    assert found is not None
    assert found.rmse.value == pytest.approx(root_mean_squared_error(labels, predictions), rel=1e-6)
    assert found.mae.value == pytest.approx(mean_absolute_error(labels, predictions), rel=1e-6)
    if found.r2 is not None:
        assert found.r2.value == pytest.approx(r2_score(labels, predictions), rel=1e-6, abs=1e-9)
    assert sum(each.rows for each in found.residuals) == len(pairs)
    for estimate in found.scores.values():
        assert estimate.low <= estimate.value <= estimate.high


def test_labels_that_are_all_the_same_have_no_r2() -> None:
    found = measure_values(np.array([1.0, 2.0, 3.0]), np.full(3, 2.0))
    assert found is not None
    assert found.r2 is None
    assert list(found.scores) == ["rmse", "mae"]


def test_the_intervals_of_errors_have_their_coverage() -> None:
    source, covered = np.random.default_rng(5), np.zeros(3)
    # Labels x + e with independent standard normals x and e, predicted by x: R² is 1/2.
    truth = (1.0, np.sqrt(2 / np.pi), 0.5)
    for _ in range(1000):
        predictions = source.normal(size=300)
        found = measure_values(predictions, predictions + source.normal(size=300))
        assert found is not None
        covered += [each.low <= value <= each.high for each, value in zip(found.scores.values(), truth, strict=True)]
    assert (covered / 1000 >= 0.93).all()
    assert (covered / 1000 <= 0.97).all()


def test_residuals_show_where_predictions_are_biased() -> None:
    source = np.random.default_rng(6)
    predictions = source.uniform(0, 1, size=4000)
    found = measure_values(predictions, predictions + np.where(predictions > 0.5, 1.0, 0.0))
    assert found is not None
    assert [round(each.quantiles[2]) for each in found.residuals] == [0] * 10 + [1] * 10


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_have_no_errors(rows: int) -> None:
    assert measure_values(np.zeros(rows), np.zeros(rows)) is None
    assert (measure_classes(CLASSES, np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64), None) is None) is (
        rows == 0
    )
