"""What can go wrong with the platform on this machine.

```
StackError
├── ProcessFailed        a server ended, or was not ready in time
├── DownloadFailed       the storage initializer could not fetch a version
├── NotConfirmed         the gateway did not confirm a change in time
├── AlreadyRunning       another stack holds this folder
├── NotRunning           no stack holds this folder
├── ModelUnnamed         the stack serves several models, and none was named
├── ModelNotServed       the stack does not serve this model
├── NotPublished         the store lacks a version that the stack is to serve
├── NotStarted           a stack in the background did not become ready
└── NotStopped           a stack did not end in time
```
"""

from __future__ import annotations

from collections.abc import Iterable

from sabia.errors import SabiaError


class StackError(SabiaError):
    """Base of everything this package raises on purpose."""


class ProcessFailed(StackError):
    """A server ended, or was not ready in time."""

    def __init__(self, name: str, what: str, last_lines: str) -> None:
        log = f" Its log ends: {last_lines}" if last_lines else ""
        super().__init__(f"{name} {what}.{log}")


class DownloadFailed(StackError):
    """The storage initializer could not fetch a version."""

    def __init__(self, uri: str, last_line: str) -> None:
        super().__init__(f"{uri} could not be downloaded: {last_line}")


class NotConfirmed(StackError):
    """The gateway did not confirm a change in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The gateway did not confirm the change within {seconds:g} s; it may not be in force.")
        self.seconds = seconds


class AlreadyRunning(StackError):
    """Another stack holds this folder."""

    def __init__(self) -> None:
        super().__init__("A stack runs in this folder already; `sabia down` stops it.")


class NotRunning(StackError):
    """No stack holds this folder."""

    exit_code = 5

    def __init__(self) -> None:
        super().__init__("No stack runs here; `sabia up` starts one.")


class ModelUnnamed(StackError):
    """The stack serves several models, and none was named."""

    exit_code = 2

    def __init__(self, models: Iterable[str]) -> None:
        super().__init__(f"This stack serves {', '.join(models)}; name one with --model.")


class ModelNotServed(StackError):
    """The stack does not serve this model, or serves none."""

    exit_code = 3

    def __init__(self, model: str | None, models: Iterable[str]) -> None:
        known = ", ".join(models)
        if model is None or not known:
            super().__init__(
                "This stack is a store alone and serves no model; `sabia down` ends it, `sabia up` serves."
            )
        else:
            super().__init__(f"This stack serves {known}, and no {model!r}.")


class NotPublished(StackError):
    """The store lacks a version that the stack is to serve."""

    exit_code = 3

    def __init__(self, model: str, versions: Iterable[str]) -> None:
        super().__init__(
            f"The store has no version {' or '.join(versions)} of {model!r}, which is to be served; "
            "`sabia up --store-only` starts the store to publish it to."
        )


class NotStarted(StackError):
    """A stack in the background did not become ready."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The stack did not start: {reason.rstrip('.')}.")


class NotStopped(StackError):
    """A stack did not end in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The stack did not stop within {seconds:g} s.")
