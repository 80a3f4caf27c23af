"""Reasons not to import a model, and files that cannot be read.

```
ImportRefused
├── UnreadableModel     the file is not a model of a known format, or not whole
├── UnsupportedModel    the model is one that no version can serve
├── UnreadableRows      a table or an array file is not of a known format
├── RowsRefused         the rows do not fit the model's inputs or outputs
├── MissingLibrary      the library of the format is not installed
├── AnswersDiffer       the model does not give the expected answers
└── CodeRefused         the format runs code when it is loaded
```
"""

from __future__ import annotations

from sabia.errors import SabiaError


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


class CodeRefused(ImportRefused):
    """The format runs code when it is loaded."""

    def __init__(self, name: str, kind: str, remedy: str, *, certain: bool = True) -> None:
        runs = "which runs code when it is loaded" if certain else "which may run code when they are loaded"
        super().__init__(f"{name} holds {kind}, {runs}; {remedy}.")
