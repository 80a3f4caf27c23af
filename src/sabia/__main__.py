"""`sabia`, and `python -P -m sabia`: every command by one entry point.

A command imports what it needs and no more: `--help` imports no library, and `serve` starts the server before any
library of the other commands is imported. `-P` keeps the current folder out of the import path, so that a user's own
`predictor.py` or `sabia.py` is never taken for one of ours; the `sabia` script does not look there either.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from sabia.cli.commands import COMMANDS, help_text
from sabia.errors import SabiaError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; an expected failure is one line on standard error."""
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments)] or [""]
    if name in ("", "--help"):
        print(help_text())
        return 0 if name else 2
    if name == "--version":
        from importlib.metadata import version

        print(f"sabia {version('sabia')}")
        return 0
    if name not in COMMANDS:
        return _fail(f"No such command {name!r}; `sabia --help` lists the commands.", 2)
    try:
        return _run(name, rest)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        extra = COMMANDS[name].extra
        if missing == "sabia" or extra is None:
            raise
        return _fail(f"`sabia {name}` needs {missing}, which pip install 'sabia[{extra}]' brings.", 1)
    except SabiaError as error:
        return _fail(str(error), error.exit_code)


def _run(name: str, arguments: list[str]) -> int:
    command: Any = getattr(import_module(COMMANDS[name].module), COMMANDS[name].name)
    if name == "serve":
        # On a person's machine it listens on loopback; in a pod the image's `python -m predictor` on every address.
        return int(command(arguments, {"SABIA_HOST": "127.0.0.1"} | os.environ, prog="sabia serve"))
    if name == "fetch":
        return int(command(arguments))
    from sabia.cli.app import run

    return run(command, name, arguments)


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
