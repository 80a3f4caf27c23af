"""Metrics for each task, by name, and the floors under them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sabia.contract.calibration import calibration_error
from sabia.contract.tensors import OUTPUT
from sabia.publishing.errors import FloorRefused, UnknownMetric
from sabia.publishing.estimators import LABEL, PROBABILITIES, Subject
from sabia.publishing.graphs import Arrays

# Where less is better, a floor is the most that passes.
ERRORS = ("log_loss", "brier_score", "calibration_error", "rmse", "mae")
TOP = 3


def measure(subject: Subject, target: NDArray[Any], answers: Arrays) -> dict[str, float]:
    """The metrics of the subject's task, for a target of shape (rows,) or (rows, targets) and answers by output."""
    if subject.kind in ("probability", "score"):
        return _binary(subject.labels(target) == subject.classes[1], answers[OUTPUT])
    if subject.classes:
        return _classes(subject, subject.labels(target), answers)
    truth = np.asarray(target, dtype=np.float64).reshape(len(target), -1)
    predicted = np.column_stack(list(answers.values()))
    found = _values(truth, predicted)
    if subject.kind == "values":
        for at, name in enumerate(subject.targets):
            found[f"rmse_{name}"] = _values(truth[:, [at]], predicted[:, [at]])["rmse"]
    return found


def _binary(truth: NDArray[np.bool_], probability: NDArray[np.float64]) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score  # noqa: PLC0415

    found = {"accuracy": float(accuracy_score(truth, probability >= 0.5))}
    if 0 < truth.sum() < len(truth):
        found["roc_auc"] = float(roc_auc_score(truth, probability))
    return found | {
        "log_loss": float(log_loss(truth, probability, labels=[False, True])),
        "brier_score": float(brier_score_loss(truth, probability)),
        "calibration_error": calibration_error(probability, truth.astype(np.int64)),
    }


def _classes(subject: Subject, truth: NDArray[Any], answers: Arrays) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss  # noqa: PLC0415

    index = {value: at for at, value in enumerate(subject.classes)}
    known = np.array([index.get(value, -1) for value in truth.tolist()])
    label = np.array([index[value] for value in answers[LABEL].tolist()])
    found = {
        "accuracy": float(accuracy_score(known, label)),
        "balanced_accuracy": float(balanced_accuracy_score(known, label)),
        "macro_f1": float(f1_score(known, label, average="macro", zero_division=0)),
    }
    probabilities = answers.get(PROBABILITIES)
    if probabilities is None:
        return found
    if (known >= 0).all():
        rows = probabilities / probabilities.sum(axis=1, keepdims=True)
        found["log_loss"] = float(log_loss(known, rows, labels=list(range(len(index)))))
    if len(index) > TOP:
        best = np.argsort(-probabilities, axis=1)[:, :TOP]
        found[f"top_{TOP}_accuracy"] = float((best == known[:, None]).any(axis=1).mean())
    return found


def _values(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
    errors = predicted - truth
    found = {"rmse": float(np.sqrt((errors**2).mean())), "mae": float(np.abs(errors).mean())}
    spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    if (spread > 0).all():
        found["r2"] = float((1 - (errors**2).sum(axis=0) / spread).mean())
    return found


def check_floor(values: Mapping[str, float], floor: Mapping[str, float]) -> None:
    """Compare metrics with their floors; an error must be at most as large.

    Raises:
        FloorRefused: a metric misses its floor, or is not a number.
        UnknownMetric: the task has no metric of this name.
    """
    for name, least in floor.items():
        if name not in values:
            raise UnknownMetric(name, sorted(values))
        value = values[name]
        is_error = name in ERRORS or name.startswith("rmse_")
        if not (value <= least if is_error else value >= least):
            raise FloorRefused(name, value=value, floor=least)
