"""How labels are compared with the predictions of a version: by the role of its primary output, in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sabia.contract.signature import Output
from sabia.monitoring.sql import class_number, label_number, quoted


@dataclass(frozen=True, slots=True)
class Truth:
    """Expressions on a row of the log joined with its label.

    Attributes:
        prediction: a number, or the index of the predicted class.
        label: in the same way.
        score: 1 for a correct and 0 for a wrong prediction; of numbers the absolute error. NULL without both.
        agreement: whether the predictions of rows `a` and `b` are alike; FALSE where that has no meaning.
        classes: the classes; empty for numbers and for a probability.
    """

    prediction: str
    label: str
    score: str
    agreement: str
    classes: tuple[str, ...] = ()

    def wrong(self, largest_error: float | None) -> str | None:
        """Whether a prediction was wrong; None for numbers if no largest error is stated."""
        if not self.is_error:
            return f"({self.score}) < 0.5"
        return None if largest_error is None else f"({self.score}) > {largest_error!r}"

    @property
    def is_error(self) -> bool:
        """Whether the score is an error, of which less is better."""
        return self.agreement == "FALSE"


def truth_of(output: Output) -> Truth | None:
    """How labels are compared with an output; None where they cannot be."""
    match output.role:
        case "probability":
            label = _binary_label(output.classes)
            return Truth(
                prediction="prediction",
                label=label,
                score=_scored("prediction", label, f"CAST((prediction >= 0.5) = ({label} >= 0.5) AS DOUBLE)"),
                agreement="(a.predicted >= 0.5) = (b.predicted >= 0.5)",
            )
        case "value":
            return Truth("prediction", "label", "abs(prediction - label)", "FALSE")
        case "label" | "class-probabilities" if output.classes:
            names = tuple(map(str, output.classes))
            predicted, label = class_number(names), label_number(names)
            # Two classes that the model lacks are not the same class.
            correct = f"CAST({predicted} = {label} AND {label} < {len(names)} AS DOUBLE)"
            return Truth(predicted, label, _scored(predicted, label, correct), "a.predicted = b.predicted", names)
        case _:
            return None


def _binary_label(classes: Sequence[str | int] | None) -> str:
    """1 for the second class, 0 for the first; otherwise the label's number."""
    if not classes:
        return "label"
    first, second = (quoted(str(name)) for name in classes)
    return f"coalesce(CASE class WHEN {second} THEN 1.0 WHEN {first} THEN 0.0 END, label)"


def _scored(prediction: str, label: str, score: str) -> str:
    return f"CASE WHEN {prediction} IS NOT NULL AND {label} IS NOT NULL THEN {score} END"
