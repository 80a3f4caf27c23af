"""How a command's arguments are parsed: by typer, from its signature."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer


def run(command: Callable[..., Any] | typer.Typer, name: str, arguments: list[str]) -> int:
    """Parse the arguments of one command, or of a group of commands, and run it; its exit code.

    Raises:
        SabiaError: the command failed.
    """
    # A group of one command is still called by the command's name, which typer's own choice would drop.
    if isinstance(command, typer.Typer):
        parser: Callable[..., Any] = typer.main.get_group(command)
    else:
        parser = typer.main.get_command(_alone(command, name))
    try:
        parser(args=arguments, prog_name=f"sabia {name}")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _alone(command: Callable[..., Any], name: str) -> typer.Typer:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(name)(command)
    return app
