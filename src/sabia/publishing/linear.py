"""The parameters of an estimator, as state.json holds them."""

from __future__ import annotations

from typing import Any

import numpy as np

from sabia.publishing.converters.pipelines import split
from sabia.publishing.estimators import Subject

# Coefficients beyond this many are left to the graph.
_MOST_NUMBERS = 20_000


def params(subject: Subject, *, matrix: bool) -> dict[str, Any]:
    """The fitted parameters.

    A linear model of one score, of all columns or of columns standardised before, has all that its score is made of, by
    which a server explains its predictions and computes them faster. Others have their coefficients, or the size of
    their trees.
    """
    steps, last = split(subject.estimator)
    found = _sizes(last)
    coefficients, intercept = getattr(last, "coef_", None), getattr(last, "intercept_", None)
    if coefficients is None or intercept is None or callable(coefficients) or np.size(coefficients) > _MOST_NUMBERS:
        return found
    if hasattr(coefficients, "toarray"):
        coefficients = coefficients.toarray()
    coefficients, intercept = np.asarray(coefficients, dtype=np.float64), np.asarray(intercept, dtype=np.float64)
    scaler = steps[0][1] if len(steps) == 1 and type(steps[0][1]).__name__ == "StandardScaler" else None
    one_score = intercept.size == 1 and coefficients.size == coefficients.shape[-1]
    if matrix and one_score and not (steps and scaler is None) and subject.kind in ("probability", "score", "value"):
        columns = coefficients.size
        means = getattr(scaler, "mean_", None)
        scales = getattr(scaler, "scale_", None)
        return found | {
            "means": (np.zeros(columns) if means is None else np.asarray(means)).tolist(),
            "scales": (np.ones(columns) if scales is None else np.asarray(scales)).tolist(),
            "coefficients": coefficients.ravel().tolist(),
            "intercept": float(intercept.ravel()[0]),
        }
    return found | {"weights": coefficients.tolist(), "bias": intercept.tolist()}


def _sizes(last: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    forest = getattr(last, "estimators_", None)
    if forest is not None and all(hasattr(tree, "tree_") for tree in np.ravel(np.asarray(forest, dtype=object))):
        trees = [tree.tree_ for tree in np.ravel(np.asarray(forest, dtype=object))]
        found |= {"trees": len(trees), "nodes": int(sum(tree.node_count for tree in trees))}
    iterations = getattr(last, "n_iter_", None)
    if isinstance(iterations, int | np.integer):
        found["iterations"] = int(iterations)
    return found
