"""Recipes that cannot be carried out.

```
TrainingError
├── InvalidRecipe       the file is not a recipe
├── UnknownDataset      no data set has this URI
├── InvalidData         the recipe's data cannot be read, or are not rows to train on
├── UnknownMethods      no methods have this name
├── InvalidMethods      the user's own methods cannot be loaded, or are not methods
├── InvalidHyperParams  the estimator does not take these hyper-parameters
└── TrainingFailed      the estimator cannot be trained on these data
```
"""

from __future__ import annotations

from collections.abc import Iterable

from sabia.errors import SabiaError


class TrainingError(SabiaError):
    """Base of everything that this package raises on purpose."""


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


class InvalidData(TrainingError):
    """The data of a recipe cannot be read, or are not rows to train and evaluate on."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The data set is not usable: {reason}.")


class UnknownMethods(TrainingError):
    """No model class is known under this name."""

    exit_code = 3

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"No methods are called {name!r}; known: {', '.join(sorted(known))}.")


class InvalidHyperParams(TrainingError):
    """The estimator does not take these hyper-parameters."""

    def __init__(self, methods: str, reason: str) -> None:
        super().__init__(f"{methods} does not take these hyper-parameters: {reason}.")


class InvalidMethods(TrainingError):
    """The methods that a recipe names as `package.module:Class` cannot be used."""

    exit_code = 2

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"The methods {name!r} cannot be used: {reason}.")


class TrainingFailed(TrainingError):
    """The estimator cannot be trained on these data."""

    def __init__(self, methods: str, reason: str) -> None:
        super().__init__(f"{methods} cannot be trained on these data: {reason}.")
