"""What can go wrong between a data set and a published version.

```
TrainingError
├── InvalidRecipe       the recipe file is not one
├── UnknownDataset      no data set has this URI
├── UnknownMethods      no model has this name
├── InvalidHyperParams  the model does not take them
└── GateRefused         trained, and not fit to be published
    ├── ParityRefused      the converted model answers otherwise than the estimator
    ├── ParametersRefused  a parameter is NaN or infinite
    ├── ConstantRefused    it answers the same to every row
    └── FloorRefused       a metric is under the recipe's floor
```
"""

from __future__ import annotations

from collections.abc import Iterable

from sabia.errors import SabiaError


class TrainingError(SabiaError):
    """Base of everything this package raises on purpose."""


class InvalidRecipe(TrainingError):
    """The recipe cannot be read or contradicts itself."""

    exit_code = 2

    def __init__(self, reason: str) -> None:
        super().__init__(f"The recipe is not valid: {reason}.")


class UnknownDataset(TrainingError):
    """No data set is known under this URI."""

    exit_code = 3

    def __init__(self, uri: str, known: Iterable[str]) -> None:
        super().__init__(f"No data set is called {uri!r}; known: {', '.join(sorted(known))}.")


class UnknownMethods(TrainingError):
    """No model class is known under this name."""

    exit_code = 3

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"No methods are called {name!r}; known: {', '.join(sorted(known))}.")


class InvalidHyperParams(TrainingError):
    """The estimator does not take these hyper-parameters."""

    def __init__(self, methods: str, reason: str) -> None:
        super().__init__(f"{methods} does not take these hyper-parameters: {reason}.")


class GateRefused(TrainingError):
    """Base of the reasons not to publish a trained model."""


class ParityRefused(GateRefused):
    """The converted model does not answer as the estimator does."""

    def __init__(self, *, error: float, tolerance: float) -> None:
        super().__init__(f"The converted model is up to {error:.3g} from the estimator; {tolerance:.3g} is allowed.")


class ParametersRefused(GateRefused):
    """A parameter is not a finite number."""

    def __init__(self, parameter: str) -> None:
        super().__init__(f"Parameter {parameter!r} has values that are NaN or infinite.")


class ConstantRefused(GateRefused):
    """The model answers the same to every held-out row."""

    def __init__(self, value: float) -> None:
        super().__init__(f"The model answers {value:.6g} to every held-out row.")


class FloorRefused(GateRefused):
    """A metric is worse than the recipe allows."""

    def __init__(self, metric: str, *, value: float, floor: float) -> None:
        super().__init__(f"{metric} is {value:.4f}; the recipe's floor is {floor:.4f}.")
