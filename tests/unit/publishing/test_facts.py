"""What is written beside a model: evaluation, reference bins, card, provenance."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.contract.reference import encode
from sabia.publishing import provenance
from sabia.publishing.evaluation import evaluate
from sabia.publishing.reference import prediction_edges, reference
from sabia.registry.verification import Artifact

values = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50)


def test_evaluation_scores_a_perfect_and_a_wrong_model() -> None:
    target = np.array([0, 1, 0, 1])
    perfect = evaluate(target, target.astype(float), parity_max_error=0.0).values
    best = {"accuracy": 1.0, "roc_auc": 1.0, "brier_score": 0.0, "calibration_error": 0.0}
    assert best.items() <= perfect.items()
    wrong = evaluate(target, 1.0 - target, parity_max_error=0.0).values
    worst = {"accuracy": 0.0, "roc_auc": 0.0, "brier_score": 1.0, "calibration_error": 1.0}
    assert worst.items() <= wrong.items()


@given(values)
def test_every_row_falls_into_exactly_one_bin(column: list[float]) -> None:
    features = np.array(column).reshape(-1, 1)
    document = json.loads(encode(reference(("x",), features, np.linspace(0, 1, len(column)), (0.0, 1.0))))
    histogram = document["features"]["x"]
    assert sum(histogram["counts"]) == len(column) == document["rows"]
    assert len(histogram["counts"]) == len(histogram["edges"]) + 1
    assert histogram["edges"] == sorted(set(histogram["edges"]))
    bins = [sum(edge <= value for edge in histogram["edges"]) for value in column]
    assert histogram["counts"] == [bins.count(at) for at in range(len(histogram["counts"]))]


def test_two_versions_of_the_same_range_have_the_same_prediction_bins(linear: Artifact, logistic: Artifact) -> None:
    """They are compared bin by bin while they share traffic."""
    edges = [json.loads(artifact.files["reference.json"])["prediction"]["edges"] for artifact in (linear, logistic)]
    assert edges[0] == edges[1] == prediction_edges(0.0, 1.0).tolist()


def test_the_card_has_the_figures_of_the_manifest(logistic: Artifact) -> None:
    card, manifest = logistic.files["CARD.md"].decode(), logistic.manifest
    assert f"{manifest.metrics.values['accuracy']:.4f}" in card
    assert manifest.methods.fingerprint[:12] in card
    assert all(feature.name in card for feature in manifest.inputs)


def test_the_card_holds_neither_number_nor_time(logistic: Artifact) -> None:
    """Else the same content published twice would have two cards."""
    card = logistic.files["CARD.md"].decode()
    assert logistic.manifest.created_at not in card
    assert f"version {logistic.manifest.version}" not in card


def test_provenance_names_data_code_and_libraries(linear: Artifact) -> None:
    found = linear.manifest.provenance
    assert found.dataset is not None
    assert found.dataset.rows == 426
    assert found.dataset.uri == "sklearn:breast_cancer?rows=1"
    assert set(found.libraries) == set(provenance.LIBRARIES)
    assert found.opset == {"ai.onnx": 17, "ai.onnx.ml": 1}


def test_without_a_repository_the_commit_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SABIA_GIT_COMMIT", "abc123")
    found = provenance.git()
    assert found is not None
    assert (found.commit, found.dirty) == ("abc123", False)


def test_without_git_the_commit_is_unknown_not_invented(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SABIA_GIT_COMMIT", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git() is None
