"""Errors of the commands themselves; every error class carries its exit code (`sabia.errors`)."""

from __future__ import annotations

from sabia.errors import SabiaError


class CliError(SabiaError):
    """A command cannot do what was asked; the message says why."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = code
