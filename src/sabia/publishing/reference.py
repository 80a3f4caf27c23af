"""The distribution of the training rows, measured once for `reference.json`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sabia.contract.bins import counts_of
from sabia.contract.reference import Histogram, Reference, build
from sabia.contract.signature import Bins, Input, Signature
from sabia.publishing.frames import Column, Frame
from sabia.publishing.graphs import Arrays

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


def reference_of(signature: Signature, frame: Frame, answers: Arrays) -> Reference:
    """The reference of training rows as a table, and of the served model's answers for them by output.

    The table has a column for each input that has one value a row; tensors have no histogram.
    """
    bins = signature.bins
    counts = bins.counts(answers[signature.primary]).tolist()
    classes = list(bins.classes) if bins.kind == "classes" else None
    return build(
        rows=len(answers[signature.primary]),
        features={each.name: _of_column(each, frame.column(each.name)) for each in signature.inputs if each.is_scalar},
        prediction=Histogram(bins.inner_edges.tolist(), counts, categories=classes),
    )


def _of_column(described: Input, column: Column) -> Histogram:
    known = column.values[~column.null]
    missing = int(column.null.sum())
    if described.categories is not None:
        bins = Bins(kind="classes", classes=described.categories)
        categories: list[str | int] = [*described.categories]
        return Histogram([], bins.counts(known).tolist(), categories=categories, missing=missing)
    if column.dtype in ("string", "bytes"):
        # Text has no bins: one for all.
        return Histogram([], [len(known)], missing=missing)
    numbers = known.astype(np.float64)
    quantiles = np.linspace(0, 1, FEATURE_BINS + 1)[1:-1]
    finite = numbers[np.isfinite(numbers)]
    edges = np.unique(np.quantile(finite, quantiles)) if len(finite) else np.empty(0)
    return Histogram(edges.tolist(), counts_of(edges, numbers).tolist(), missing=missing)
