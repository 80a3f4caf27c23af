"""The report on a log and its labels."""

from __future__ import annotations

import html
import io
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sabia.contract.layout import Version
from sabia.monitoring import labels, page, table
from sabia.monitoring.document import Report
from sabia.monitoring.errors import DriftDetected, NothingLogged
from sabia.monitoring.quality import Quality
from sabia.monitoring.report import generate
from sabia.registry.verification import Artifact, read_version
from sabia.serving.inference.model import Model
from sabia.store.objects import Store
from sabia.training.datasets import load
from tests.conftest import MODEL
from tests.unit.monitoring.logs import NOON, write_log

Array = NDArray[np.float64]
DAY = date(2026, 3, 1)


def report(store: Store, days: int = 1) -> Report:
    """The report on the first days."""
    return generate(store, MODEL, DAY, DAY + timedelta(days=days - 1))


def resampled(trained: Array, count: int, seed: int = 1) -> Array:
    """Rows sampled from the training rows."""
    return trained[np.random.default_rng(seed).integers(len(trained), size=count)]


def label_file(folder: Path, ids: list[str], truth: Array) -> Path:
    """A file of labels for these requests."""
    path = folder / "labels.csv"
    text = io.StringIO("request_id,label,observed_at\n")
    lines = [f"{name},{label:g},2026-03-02T12:00:00Z" for name, label in zip(ids, truth, strict=True)]
    text.seek(0, io.SEEK_END)
    text.write("\n".join(lines) + "\n")
    path.write_text(text.getvalue())
    return path


@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "reference.json"])
def test_a_damaged_version_is_a_row_with_its_reason_beside_the_others(
    store: Store, logistic: Artifact, linear: Artifact, trained: Array, tmp_path: Path, name: str
) -> None:
    for artifact in (linear, logistic):
        rows = resampled(trained, 60)
        write_log(store, artifact, rows, Model(artifact).predict(rows))
    damaged = Store.open(tmp_path.as_uri())
    for entry in store.list(""):
        broken = entry.key.startswith(f"models/{MODEL}/{linear.manifest.version}/") and entry.key.endswith(name)
        damaged.create(entry.key, b"{" if broken else store.get(entry.key))
    found = report(damaged)
    assert [each.version for each in found.versions] == [logistic.manifest.version]
    (reason,) = found.unreadable.values()
    assert list(found.unreadable) == [linear.manifest.version]
    assert table.rows(found)[-1][-1] == f"unreadable: {reason}"
    assert f"unreadable. {html.escape(reason)}" in page.to_html(found)


@pytest.mark.slow
def test_rows_like_the_training_rows_have_not_drifted(store: Store, logistic: Artifact, trained: Array) -> None:
    rows = resampled(trained, 2000)
    write_log(store, logistic, rows, Model(logistic).predict(rows), refused=30, failed=20)
    (served,) = report(store).versions
    assert (served.requests, served.refused, served.failed, served.rows) == (2050, 30, 20, 2000)
    assert served.drifted == []
    assert {len(found.counts) for found in served.drift} <= set(range(2, 21))
    assert served.latency["0.5"] == pytest.approx(0.001, rel=0.01)
    assert served.refusals == [("Not this.", 50)]
    assert served.skew is not None
    assert served.skew.largest_difference == 0


@pytest.mark.slow
def test_only_the_feature_that_moved_is_named(store: Store, logistic: Artifact, trained: Array) -> None:
    rows = resampled(trained, 1000)
    rows[:, 4] += trained[:, 4].std()
    write_log(store, logistic, rows, Model(logistic).predict(resampled(trained, 1000, seed=2)))
    (served,) = report(store).versions
    assert served.drifted == ["mean smoothness"]
    drifted = report(store).drifted
    assert drifted == {"2.0": ["mean smoothness"]}
    assert str(DriftDetected(drifted)) == "Served rows have drifted from the training rows: 2.0: mean smoothness."


@pytest.mark.slow
def test_bins_are_those_of_the_reference(store: Store, linear: Artifact, trained: Array) -> None:
    """The training rows themselves fall into the bins exactly as the reference counted them."""
    write_log(store, linear, trained, Model(linear).predict(trained))
    (served,) = report(store).versions
    assert [found.counts for found in served.drift] == [found.expected for found in served.drift]
    assert all(feature.out_of_range == 0 and feature.missing == 0 for feature in served.features)


@pytest.mark.slow
def test_values_outside_the_training_range_are_counted(store: Store, logistic: Artifact, trained: Array) -> None:
    rows = resampled(trained, 100)
    rows[:25, 0], rows[25:50, 1] = trained[:, 0].max() + 1, trained[:, 1].min() - 1
    write_log(store, logistic, rows, np.full(100, 0.5))
    (served,) = report(store).versions
    outside = {feature.name: feature.out_of_range for feature in served.features}
    assert (outside["mean radius"], outside["mean texture"], outside["mean area"]) == (0.25, 0.25, 0.0)


@pytest.mark.slow
def test_predictions_unlike_the_artifacts_are_reported(store: Store, logistic: Artifact, trained: Array) -> None:
    rows = resampled(trained, 100)
    write_log(store, logistic, rows, 1 - Model(logistic).predict(rows))
    (served,) = report(store).versions
    assert served.skew is not None
    assert served.skew.largest_difference > 0.9


def test_late_labels_are_joined(store: Store, logistic: Artifact, tmp_path: Path) -> None:
    data = load("sklearn:breast_cancer")
    predictions = Model(logistic).predict(data.features)
    ids = write_log(store, logistic, data.features, predictions)
    labels.add(store, MODEL, label_file(tmp_path, ids, data.target.astype(np.float64)), now=NOON + timedelta(days=40))
    (served,) = report(store).versions
    assert isinstance(served.quality, Quality)
    assert served.quality.rows == len(data.target)
    assert served.quality.accuracy.value == pytest.approx(np.mean((predictions >= 0.5) == data.target))
    assert served.label_delay["0.5"] == pytest.approx(24 * 3600, rel=0.01)
    assert served.days[0].scores["accuracy"] == served.quality.accuracy


@pytest.mark.slow
def test_two_versions_are_compared_on_the_period_that_they_share(
    store: Store, linear: Artifact, logistic: Artifact, trained: Array
) -> None:
    rows, more = resampled(trained, 400), resampled(trained, 500)
    write_log(store, linear, rows, Model(linear).predict(rows), at=NOON, server="a")
    write_log(store, linear, more, Model(linear).predict(more), at=NOON + timedelta(minutes=1), server="b")
    write_log(
        store,
        logistic,
        rows,
        Model(logistic).predict(rows),
        at=NOON + timedelta(minutes=1),
        failed=40,
        seconds=0.002,
    )
    (compared,) = report(store).comparisons
    assert (compared.first, compared.second) == ("1.2", "2.0")
    # Of the first version only the second minute counts.
    assert compared.requests[0] <= 500
    assert compared.failed.low > 0
    assert compared.latency["0.5"] == pytest.approx(2, rel=0.01)


@pytest.mark.slow
def test_mirrored_requests_are_paired(store: Store, linear: Artifact, logistic: Artifact, trained: Array) -> None:
    rows = resampled(trained, 100)
    ids = [f"request-{at}" for at in range(100)]
    write_log(store, linear, rows, np.full(100, 0.8), ids=ids, server="a")
    write_log(store, logistic, rows, np.full(100, 0.6), ids=ids, server="b")
    (compared,) = report(store).comparisons
    assert compared.pairs == 100
    assert compared.mean_distance == pytest.approx(0.2)
    assert compared.agreement is not None
    assert compared.agreement.value == 1.0


@pytest.mark.slow
def test_days_are_reported_separately_and_others_left_out(store: Store, logistic: Artifact, trained: Array) -> None:
    for day in range(3):
        rows = resampled(trained, 100 + day, seed=day)
        write_log(store, logistic, rows, Model(logistic).predict(rows), at=NOON + timedelta(days=day))
    (served,) = report(store, days=2).versions
    assert [(day.day, day.rows) for day in served.days] == [("2026-03-01", 100), ("2026-03-02", 101)]
    assert served.rows == 201


def test_a_period_without_log_is_an_error_that_names_it(store: Store) -> None:
    with pytest.raises(NothingLogged, match="from 2026-03-01 to 2026-03-01"):
        report(store)


@pytest.mark.slow
def test_redacted_columns_are_missing_and_have_not_drifted(store: Store, logistic: Artifact, trained: Array) -> None:
    rows = resampled(trained, 500)
    write_log(store, logistic, rows, Model(logistic).predict(rows), redacted=frozenset({"mean radius"}))
    (served,) = report(store).versions
    found = {feature.name: feature for feature in served.features}
    compared: dict[str, Any] = {each.name: each for each in served.drift}
    assert found["mean radius"].missing == 1.0
    assert compared["mean radius"].drifted is None
    assert served.skew is None


@pytest.mark.slow
def test_a_version_that_is_not_in_the_store_is_named(
    store: Store, linear: Artifact, published: Store, trained: Array
) -> None:
    other = read_version(published, MODEL, Version(2, 2))
    for artifact in (linear, other):
        write_log(store, artifact, resampled(trained, 60), np.full(60, 0.5))
    found = report(store)
    assert ([each.version for each in found.versions], found.unknown) == (["1.2"], ["2.2"])
    assert found.unjudged.startswith("In the log, but not in the store: 2.2. Drift and quality are measured against")
