"""Reasons not to import a model, and files that cannot be read.

```
ImportRefused
├── UnreadableModel     the file is not a model of a known format, or not whole
├── UnsupportedModel    the model is one that no version can serve
├── UnreadableRows      a table or an array file is not of a known format
├── RowsRefused         the rows do not fit the model's inputs or outputs
├── MissingLibrary      the library of the format is not installed
├── MissingModule       a module that the model was saved with is not installed
├── AnswersDiffer       the model does not give the expected answers
└── CodeRefused         the format runs code when it is loaded, which was not allowed
```
"""

from __future__ import annotations

import re

from sabia.errors import SabiaError

_PATH = re.compile(r"(?:/[^\s/:'\"]+)+")

# What brings a module.
_INSTALL = {each: f"sabia[{each}]" for each in ("xgboost", "lightgbm", "catboost", "skops")} | {"mlflow": "mlflow"}


class ImportRefused(SabiaError):
    """Base of the reasons not to import a model."""


class UnreadableModel(ImportRefused):
    """The file is not a model of a known format, or not whole."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}.")


class UnsupportedModel(ImportRefused):
    """The model is one that no version can serve."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The model {reason}.")


class UnreadableRows(ImportRefused):
    """A table or an array file is not of a known format."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}.")


class RowsRefused(ImportRefused):
    """The rows do not fit the model's inputs or outputs."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}.")


class AnswersDiffer(ImportRefused):
    """The model does not give the expected answers."""

    def __init__(self, output: str, row: int, *, actual: object, expected: object, tolerance: float) -> None:
        super().__init__(
            f"Row {row} gets {actual} as {output!r}; {expected} is expected, and {tolerance:g} is the tolerance."
        )


class MissingLibrary(ImportRefused):
    """The library of the format is not installed."""

    def __init__(self, name: str, library: str) -> None:
        super().__init__(f"{name} is of {library}'s format; install sabia[{library.lower()}].")


class MissingModule(ImportRefused):
    """A module that the model was saved with is not installed."""

    def __init__(self, name: str, module: str) -> None:
        install = _INSTALL.get(module.partition(".")[0])
        hint = f"; install {install}" if install else ""
        super().__init__(f"{name} needs the module {module!r}, which is not installed here{hint}.")


class CodeRefused(ImportRefused):
    """The format runs code when it is loaded, which was not allowed; `runs` is the code."""

    def __init__(self, name: str, kind: str, runs: str, *, certain: bool = True) -> None:
        loads = "which runs code when it is loaded" if certain else "which may run code when they are loaded"
        super().__init__(
            f"{name} holds {kind}, {loads}; if you trust it, --run-code (in Python run_code=True) runs {runs} here, "
            "once, and the version itself stays data."
        )


def reason_of(error: BaseException) -> str:
    """The first line of an error of another library, without paths of this machine and without its last dot."""
    line = _PATH.sub("", str(error)).strip().partition("\n")[0].strip().rstrip(".")
    return line[:300] or type(error).__name__
