"""reference.json: what the training rows looked like, so that a server and a drift report can tell what is new.

A histogram has `edges` (ascending, inner edges only) and `counts` (one more than edges). A value v lies in the bin
`sum(edge <= v)`: bins are closed on the left, and the two outer ones are open to infinity.

Features have the training rows' deciles as edges. The prediction has twenty equal bins over its declared range, not
its own quantiles: two versions are compared bin by bin, so their bins must be the same.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SCHEMA_VERSION = 1
FEATURE_BINS = 10
PREDICTION_BINS = 20


def prediction_edges(lowest: float, highest: float) -> Array:
    """The inner edges of the prediction's bins."""
    return np.linspace(lowest, highest, PREDICTION_BINS + 1)[1:-1]


def reference(names: tuple[str, ...], features: Array, prediction: Array, span: tuple[float, float]) -> bytes:
    """The bytes of reference.json for training rows of shape (rows, columns) and their predictions, shape (rows,)."""
    quantiles = np.linspace(0, 1, FEATURE_BINS + 1)[1:-1]
    columns = {name: np.unique(np.quantile(features[:, at], quantiles)) for at, name in enumerate(names)}
    document = {
        "schema_version": SCHEMA_VERSION,
        "rows": len(features),
        "features": {name: _histogram(features[:, at], columns[name]) for at, name in enumerate(names)},
        "prediction": _histogram(prediction, prediction_edges(*span)),
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def _histogram(values: Array, edges: Array) -> dict[str, Any]:
    bins = np.searchsorted(edges, values, side="right")
    counts = np.bincount(bins, minlength=len(edges) + 1)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
