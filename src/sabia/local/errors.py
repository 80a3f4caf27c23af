"""What can go wrong with the one-machine platform.

```
StackError
├── ManifestProblem      a manifest cannot be rendered, or says what this platform cannot do
├── ProcessFailed        a server ended, or did not become ready in its time
├── DownloadFailed       the storage initializer could not bring a version
├── NotConfirmed         the gateway did not take a change in its time
├── AlreadyRunning       another stack holds this folder
└── NotRunning           no stack holds this folder
```
"""

from __future__ import annotations

from sabia.errors import SabiaError


class StackError(SabiaError):
    """Base of everything this package raises on purpose."""


class ManifestProblem(StackError):
    """A manifest cannot be used."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}.")


class ProcessFailed(StackError):
    """A server did not come up, or went away."""

    def __init__(self, name: str, what: str, last_lines: str) -> None:
        said = f" It said: {last_lines}" if last_lines else ""
        super().__init__(f"{name} {what}.{said}")


class DownloadFailed(StackError):
    """A version did not arrive."""

    def __init__(self, uri: str, last_line: str) -> None:
        super().__init__(f"{uri} could not be downloaded: {last_line}")


class NotConfirmed(StackError):
    """The gateway did not say that it took a change."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The gateway did not confirm the change within {seconds:g} s; it may not be in force.")
        self.seconds = seconds


class AlreadyRunning(StackError):
    """The folder belongs to a stack that runs."""

    def __init__(self) -> None:
        super().__init__("A stack runs in this folder already; `sabia down` ends it.")


class NotRunning(StackError):
    """There is no stack to talk to."""

    exit_code = 5

    def __init__(self) -> None:
        super().__init__("No stack runs here; `sabia up` starts one.")
