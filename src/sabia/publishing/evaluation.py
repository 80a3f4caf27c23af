"""How good a version is, on rows that it never saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from sabia.contract.calibration import calibration_error
from sabia.contract.manifest import Evaluation

Array = NDArray[np.float64]


def evaluate(target: NDArray[np.int64], prediction: Array, *, parity_max_error: float) -> Evaluation:
    """Score probabilities of shape (rows,) against a 0/1 target of the same shape; decisions are taken at 0.5."""
    return Evaluation(
        task="binary",
        rows=len(target),
        values={
            "accuracy": float(accuracy_score(target, prediction >= 0.5)),
            "roc_auc": float(roc_auc_score(target, prediction)),
            "log_loss": float(log_loss(target, prediction, labels=[0, 1])),
            "brier_score": float(brier_score_loss(target, prediction)),
            "calibration_error": calibration_error(prediction, target),
        },
        parity_max_error=parity_max_error,
    )
