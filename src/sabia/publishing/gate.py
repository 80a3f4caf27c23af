"""The publishing gate: a model that fails here never gets a number."""

from __future__ import annotations

import numpy as np

from sabia.contract.manifest import Evaluation
from sabia.publishing.conversion import run
from sabia.publishing.errors import ConstantRefused, FloorRefused, ParametersRefused, ParityRefused
from sabia.publishing.model import Array, Floor, TrainedModel


def check_parameters(model: TrainedModel) -> None:
    """Raise ParametersRefused when a parameter is NaN or infinite."""
    for name, value in model.params.items():
        if not np.all(np.isfinite(np.asarray(value, dtype=np.float64))):
            raise ParametersRefused(name)


def check_parity(model: TrainedModel, model_bytes: bytes, features: Array) -> float:
    """The largest distance between the converted model and the estimator, both on the original float64 rows.

    Raises:
        ParityRefused: it is past the model's tolerance, or not a number.
    """
    error = float(np.max(np.abs(run(model_bytes, features) - model.predict(features))))
    if not error <= model.parity_tolerance:
        raise ParityRefused(error=error, tolerance=model.parity_tolerance)
    return error


def check_prediction(prediction: Array) -> None:
    """Raise ConstantRefused when every row gets the same prediction."""
    if np.ptp(prediction) == 0:
        raise ConstantRefused(float(prediction[0]))


def check_floor(metrics: Evaluation, floor: Floor) -> None:
    """Raise FloorRefused when a metric is under its floor, or not a number."""
    for name, least in floor.metrics.items():
        value = metrics.values[name]
        if not value >= least:
            raise FloorRefused(name, value=value, floor=least)
