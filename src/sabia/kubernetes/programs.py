"""Programs that come as wheels."""

from __future__ import annotations

import sys
from pathlib import Path

from sabia.kubernetes.errors import NotInstalled


def installed(program: str, *, extra: str = "kubernetes") -> str:
    """The path of a program that a wheel has installed beside this Python.

    Raises:
        NotInstalled: it is not there; the message names the extra that brings it.
    """
    path = Path(sys.executable).parent / program
    if not path.exists():
        raise NotInstalled(program, extra)
    return str(path)
