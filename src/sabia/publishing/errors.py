"""Reasons not to publish a trained model.

```
GateRefused
├── ParityRefused      the converted model disagrees with its estimator
├── ParametersRefused  a parameter is not a finite number
├── ConstantRefused    every prediction is the same
└── FloorRefused       a metric is under its floor
```
"""

from __future__ import annotations

from sabia.errors import SabiaError


class GateRefused(SabiaError):
    """Base of the reasons not to publish a trained model."""


class ParityRefused(GateRefused):
    """The converted model disagrees with its estimator."""

    def __init__(self, *, error: float, tolerance: float) -> None:
        super().__init__(f"The converted model is up to {error:.3g} from the estimator; {tolerance:.3g} is allowed.")


class ParametersRefused(GateRefused):
    """A parameter is not a finite number."""

    def __init__(self, parameter: str) -> None:
        super().__init__(f"Parameter {parameter!r} has values that are NaN or infinite.")


class ConstantRefused(GateRefused):
    """Every prediction for the held-out rows is the same."""

    def __init__(self, value: float) -> None:
        super().__init__(f"The model predicts {value:.6g} for every held-out row.")


class FloorRefused(GateRefused):
    """A metric is under its floor."""

    def __init__(self, metric: str, *, value: float, floor: float) -> None:
        super().__init__(f"{metric} is {value:.4f}; the floor is {floor:.4f}.")
