"""The distribution of the training rows, measured once for `reference.json`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sabia.contract.bins import counts_of
from sabia.contract.reference import Histogram, Reference, build

Array = NDArray[np.float64]

FEATURE_BINS = 10
PREDICTION_BINS = 20


def prediction_edges(lowest: float, highest: float) -> Array:
    """The inner edges of the prediction's bins."""
    return np.linspace(lowest, highest, PREDICTION_BINS + 1)[1:-1]


def reference(names: tuple[str, ...], features: Array, prediction: Array, span: tuple[float, float]) -> Reference:
    """The reference of training rows of shape (rows, columns) and their predictions in `span`, shape (rows,)."""
    quantiles = np.linspace(0, 1, FEATURE_BINS + 1)[1:-1]
    columns = {name: np.unique(np.quantile(features[:, at], quantiles)) for at, name in enumerate(names)}
    return build(
        rows=len(features),
        features={name: _histogram(features[:, at], columns[name]) for at, name in enumerate(names)},
        prediction=_histogram(prediction, prediction_edges(*span)),
    )


def _histogram(values: Array, edges: Array) -> Histogram:
    return Histogram(edges.tolist(), counts_of(edges, values).tolist())
