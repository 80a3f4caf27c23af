"""How the demo can fail."""

from __future__ import annotations

from sabia.errors import SabiaError


class DemoFailed(SabiaError):
    """A check did not hold."""

    def __init__(self) -> None:
        super().__init__("A check did not hold.")


class DemoStopped(SabiaError):
    """A signal stopped the demo."""

    def __init__(self) -> None:
        self.exit_code = 130  # a shell's for Ctrl-C
        super().__init__("The demo was stopped; every server that it started has ended.")
