"""The document of an `:explain` response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sabia.serving.errors import InvalidInput
from sabia.serving.explanations.explainer import Explanations

# Rows of one request that are explained by trees: each takes milliseconds.
MOST_ROWS = 100


def check_rows(rows: int) -> None:
    """Refuse more rows than are explained in one request.

    Raises:
        InvalidInput: there are more.
    """
    if rows > MOST_ROWS:
        raise InvalidInput("The body", f"has {rows} rows; at most {MOST_ROWS} are explained in one request")


def document(names: Sequence[str], predictions: Sequence[Any], given: Explanations) -> dict[str, Any]:
    """The explanations of rows, each beside its prediction as `:predict` writes it.

    Args:
        names: the inputs.
        predictions: one for each row.
        given: of the same rows.
    """
    rows = zip(predictions, given.scores.tolist(), given.intercepts.tolist(), given.contributions.tolist(), strict=True)
    explanations = [
        {
            "prediction": prediction,
            "score": score,
            "scale": given.scale,
            "intercept": intercept,
            "contributions": dict(zip(names, contributions, strict=True)),
        }
        for prediction, score, intercept, contributions in rows
    ]
    for explanation, label in zip(explanations, given.classes or [], strict=False):
        explanation["class"] = label
    return {"explanations": explanations}
