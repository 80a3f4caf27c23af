"""How good a version is, on rows that it never saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from sabia.contract.manifest import Evaluation

Array = NDArray[np.float64]

CALIBRATION_BINS = 10


def evaluate(target: NDArray[np.int64], prediction: Array, *, parity_max_error: float) -> Evaluation:
    """Score probabilities of shape (rows,) against a 0/1 target of the same shape; decisions are taken at 0.5."""
    return Evaluation(
        rows=len(target),
        accuracy=float(accuracy_score(target, prediction >= 0.5)),
        roc_auc=float(roc_auc_score(target, prediction)),
        log_loss=float(log_loss(target, prediction, labels=[0, 1])),
        brier_score=float(brier_score_loss(target, prediction)),
        calibration_error=calibration_error(target, prediction),
        parity_max_error=parity_max_error,
    )


def calibration_error(target: NDArray[np.int64], prediction: Array) -> float:
    """Expected calibration error (Naeini et al. 2015): |share of positives - mean probability|, averaged over ten
    equally wide bins by their rows. 0 is perfectly calibrated, 1 is always wrong and certain.
    """
    bins = np.minimum((prediction * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [
        np.sum(bins == number)
        * abs(float(np.mean(target[bins == number])) - float(np.mean(prediction[bins == number])))
        for number in np.unique(bins)
    ]
    return float(sum(gaps) / len(target))
