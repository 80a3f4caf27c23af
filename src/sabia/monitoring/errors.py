"""What can go wrong when looking at logs.

```
MonitoringError
├── NothingLogged       no file of the log lies in the days that were asked for
├── InvalidLabels       a file of labels cannot be read, or says something that is no label
├── InvalidReference    a version's reference.json is not one
├── NoExport            the database that was to be written cannot be
└── NoLivePage          the live page cannot be served
```
"""

from __future__ import annotations

from sabia.errors import SabiaError


class MonitoringError(SabiaError):
    """Base of everything this package raises on purpose."""


class NothingLogged(MonitoringError):
    """There is nothing to look at."""

    exit_code = 3

    def __init__(self, model: str, since: str, until: str) -> None:
        super().__init__(f"No request to {model!r} was logged from {since} to {until}.")


class InvalidLabels(MonitoringError):
    """A file of labels is not one. Nothing of it was added."""

    exit_code = 2

    def __init__(self, problem: str) -> None:
        super().__init__(f"Nothing was added: {problem}.")


class InvalidReference(MonitoringError):
    """What the training rows looked like cannot be read."""

    def __init__(self, version: str) -> None:
        super().__init__(f"The reference.json of version {version} is not one that this release reads.")


class NoExport(MonitoringError):
    """A database cannot be written."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"Nothing was exported: {problem}.")


class NoLivePage(MonitoringError):
    """The live page cannot be served."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"The live page is not served: {problem}.")
