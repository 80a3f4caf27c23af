"""Reasons not to publish a trained model.

```
GateRefused
├── TableRefused           the rows given cannot be read
├── TaskRefused            estimator, target and task do not fit together
├── EstimatorFailed        the estimator raised an exception on the rows given
├── ConversionRefused      the estimator cannot become a graph
├── ParityRefused          the converted model disagrees with its estimator
├── ParametersRefused      a parameter is not a finite number
├── HyperParameterRefused  a hyper-parameter cannot be recorded
├── ConstantRefused        every prediction is the same
├── FloorRefused           a metric misses its floor
└── UnknownMetric          the floor names a metric that the task does not have
```
"""

from __future__ import annotations

from sabia.errors import SabiaError


class GateRefused(SabiaError):
    """Base of the reasons not to publish a trained model."""


class TableRefused(GateRefused):
    """The rows given cannot be read; `problem` completes "The table of inputs ..."."""

    def __init__(self, problem: str, *, table: str = "inputs") -> None:
        super().__init__(f"The table of {table} {problem}.")


class TaskRefused(GateRefused):
    """Estimator, target and task do not fit together."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem[0].upper()}{problem[1:]}.")


class EstimatorFailed(GateRefused):
    """The estimator raised an exception on the rows given, which `doing` describes: "predict" or "fit"."""

    def __init__(self, estimator: str, error: Exception, *, doing: str) -> None:
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        super().__init__(f"{estimator} cannot {doing} the rows given: {reason[:300]}.")


class ConversionRefused(GateRefused):
    """The estimator cannot become a graph."""

    def __init__(self, estimator: str, problem: str) -> None:
        super().__init__(f"{estimator} cannot be converted to ONNX: {problem}.")


class ParityRefused(GateRefused):
    """The converted model disagrees with its estimator."""

    def __init__(self, *, error: float, tolerance: float, row: str | None = None) -> None:
        where = f", for {row}" if row else ""
        super().__init__(
            f"The converted model is up to {error:.3g} from the estimator{where}; {tolerance:.3g} is allowed."
        )


class ParametersRefused(GateRefused):
    """A parameter is not a finite number."""

    def __init__(self, parameter: str) -> None:
        super().__init__(f"Parameter {parameter!r} has values that are NaN or infinite.")


class HyperParameterRefused(GateRefused):
    """A hyper-parameter cannot be recorded."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Hyper-parameter {name!r} is not a finite number, text, true, false, null, or a list or mapping of these."
        )


class ConstantRefused(GateRefused):
    """Every prediction for the held-out rows is the same."""

    def __init__(self, value: object) -> None:
        shown = f"{value:.6g}" if isinstance(value, float) else repr(value)
        super().__init__(f"The model predicts {shown} for every held-out row.")


class FloorRefused(GateRefused):
    """A metric misses its floor: it is under it, or an error is over it."""

    def __init__(self, metric: str, *, value: float, floor: float) -> None:
        super().__init__(f"{metric} is {value:.4f}; the floor is {floor:.4f}.")


class UnknownMetric(GateRefused):
    """The floor names a metric that the task does not have."""

    def __init__(self, metric: str, known: list[str]) -> None:
        super().__init__(f"The floor names {metric!r}; the metrics here are {', '.join(known)}.")
