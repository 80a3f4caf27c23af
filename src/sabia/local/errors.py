"""What can go wrong with the platform on this machine.

```
StackError
├── ProcessFailed        a server ended, or was not ready in time
├── DownloadFailed       the storage initializer could not fetch a version
├── NotConfirmed         the gateway did not confirm a change in time
├── AlreadyRunning       another stack holds this folder
├── NotRunning           no stack holds this folder
├── NotStarted           a stack in the background did not become ready
└── NotStopped           a stack did not end in time
```
"""

from __future__ import annotations

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


class NotStarted(StackError):
    """A stack in the background did not become ready."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The stack did not start: {reason.rstrip('.')}.")


class NotStopped(StackError):
    """A stack did not end in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The stack did not stop within {seconds:g} s.")
