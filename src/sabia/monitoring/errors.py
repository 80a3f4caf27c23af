"""Errors of monitoring.

```
MonitoringError
├── NothingLogged       the period has no log
├── UnreadableLog       a file of the log or of the labels cannot be read
├── InvalidLabels       a file of labels cannot be read, or has an invalid label
├── InvalidReference    a version's reference.json cannot be read
├── DriftDetected       a version has drifted, and the command was to fail then
├── NoExport            the database cannot be written
└── NoLivePage          the live page cannot be served
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sabia.contract.errors import InvalidReference as InvalidContent
from sabia.errors import SabiaError


class MonitoringError(SabiaError):
    """The base of this package's errors."""


class NothingLogged(MonitoringError):
    """The period has no log."""

    exit_code = 3

    def __init__(self, model: str, since: str, until: str) -> None:
        super().__init__(f"No request to {model!r} was logged from {since} to {until}.")


class UnreadableLog(MonitoringError):
    """A file of the log or of the labels cannot be read."""

    exit_code = 4

    def __init__(self, model: str) -> None:
        super().__init__(f"The log or the labels of {model!r} cannot be read: one of the files is not Parquet.")


class InvalidLabels(MonitoringError):
    """A file of labels is invalid. None of its labels was added."""

    exit_code = 2

    def __init__(self, problem: str) -> None:
        super().__init__(f"No label was added: {problem}.")


class InvalidReference(MonitoringError):
    """A version's reference.json cannot be read."""

    exit_code = 4

    def __init__(self, version: str, problem: InvalidContent) -> None:
        super().__init__(f"Version {version}: {problem}")


class DriftDetected(MonitoringError):
    """Served rows differ from the training rows; `drifted` has the features by version, and is not empty."""

    def __init__(self, drifted: Mapping[str, Sequence[str]]) -> None:
        features = "; ".join(f"{version}: {', '.join(names)}" for version, names in drifted.items())
        super().__init__(f"Served rows have drifted from the training rows: {features}.")


class NoExport(MonitoringError):
    """The database cannot be written."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"Nothing was exported: {problem}.")


class NoLivePage(MonitoringError):
    """The live page cannot be served."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"The live page cannot be served: {problem}.")
