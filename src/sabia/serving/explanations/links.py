"""How the sums of trees become a version's primary output.

The nodes behind the trees are not read. Each link that converters write is tried on the background rows, and the one
under which the trees' sums are what the version predicts is taken; without one nothing is explained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sabia.contract.signature import Output, Signature
from sabia.serving.explanations.trees import Floats

# The largest distance between a prediction and what the sums give: versions compute in float32 too.
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Link:
    """Scores are `sums @ weights + offset`, shape (rows, scores): one, or one for each class.

    Attributes:
        scale: of the scores: "log-odds"; "margin", before a softmax or a vote; "log"; "probability"; "value".
    """

    weights: Floats
    offset: Floats
    scale: str

    def scores(self, sums: Floats) -> Floats:
        """The scores of sums of shape (rows, targets)."""
        return sums @ self.weights + self.offset


def find(signature: Signature, sums: Floats, outputs: dict[str, NDArray[Any]]) -> Link | None:
    """The link under which the trees' sums, shape (rows, targets), are what the version predicted for the same rows."""
    primary = signature.primary_output
    if primary.role in ("probability", "value"):
        tried = _scalar(primary, sums.shape[1])
        expected = outputs[primary.name]
    else:
        probabilities = probabilities_of(signature)
        tried = _classes(len(primary.classes or ()), sums.shape[1], has_probabilities=probabilities is not None)
        expected = outputs[probabilities.name] if probabilities else class_indices(primary, outputs[primary.name])
    for link, predict in tried:
        with np.errstate(over="ignore", invalid="ignore"):
            given = predict(link.scores(sums))
        if given.shape == expected.shape and np.allclose(given, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
            return link
    return None


def probabilities_of(signature: Signature) -> Output | None:
    """The output that has the probabilities of the primary output's classes."""
    classes = signature.primary_output.classes
    fitting = [each for each in signature.outputs if each.role == "class-probabilities" and each.classes == classes]
    return fitting[0] if fitting else None


def class_indices(output: Output, values: NDArray[Any]) -> NDArray[np.int64]:
    """The place of each label, or of the most probable class, among the output's classes; shape (rows,)."""
    if output.role == "class-probabilities":
        return np.asarray(values.argmax(axis=1), dtype=np.int64)
    places = {value: at for at, value in enumerate(output.classes or ())}
    plain = [value.decode() if isinstance(value, bytes) else value for value in values.ravel().tolist()]
    return np.array([places.get(value, -1) for value in plain], dtype=np.int64)


_Predict = Callable[[Floats], NDArray[Any]]


def _scalar(output: Output, targets: int) -> Iterator[tuple[Link, _Predict]]:
    """Of one number."""
    columns = [np.eye(targets)[:, [at]] for at in reversed(range(targets))]
    if targets == 2:
        columns.append(np.array([[-1.0], [1.0]]))
    plain = "value" if output.role == "value" else "probability"
    zero = np.zeros(1)
    for weights in columns:
        yield Link(weights, zero, plain), lambda scores: scores[:, 0]
        yield Link(weights, zero, "log-odds"), lambda scores: _sigmoid(scores[:, 0])
        yield Link(weights, zero, "log"), lambda scores: np.exp(scores[:, 0])
        yield Link(weights, zero, plain), lambda scores: np.clip(scores[:, 0], 0.0, 1.0)


def _classes(classes: int, targets: int, *, has_probabilities: bool) -> Iterator[tuple[Link, _Predict]]:
    """Of a label, by the probabilities of the classes if there are any."""
    if targets == classes:
        weights, zero = np.eye(targets), np.zeros(targets)
        if not has_probabilities:
            yield Link(weights, zero, "margin"), lambda scores: scores.argmax(axis=1)
            return
        yield Link(weights, zero, "probability"), lambda scores: scores
        yield Link(weights, zero, "margin"), _softmax
        yield Link(weights, zero, "log-odds"), _sigmoid
    elif targets == 1 and classes == 2:
        both = np.array([[-1.0, 1.0]])
        if not has_probabilities:
            yield Link(both, np.zeros(2), "margin"), lambda scores: scores.argmax(axis=1)
            yield Link(both, np.array([1.0, 0.0]), "probability"), lambda scores: scores.argmax(axis=1)
            return
        yield Link(both, np.array([1.0, 0.0]), "probability"), lambda scores: scores
        yield Link(both, np.zeros(2), "log-odds"), _sigmoid


def _sigmoid(scores: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-scores))


def _softmax(scores: Floats) -> Floats:
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
