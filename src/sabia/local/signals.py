"""SIGTERM, made to leave every context in order."""

from __future__ import annotations

import signal


class Stopped(BaseException):
    """SIGTERM arrived."""


def stop_on_sigterm() -> None:
    """Let SIGTERM unwind the stack of contexts, as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        del number, frame
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
