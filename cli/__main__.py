"""`sabia`: train, publish, serve, and move traffic.

Exit codes: 0 done; 1 it failed, or a check did not hold; 2 the command line is wrong; 3 there is no such thing;
4 the store does not hold what was published; 5 the store or the stack cannot be reached.
"""

from __future__ import annotations

import sys

import typer

from cli import platform, versions
from cli.demo import demo
from cli.errors import KNOWN, code_of
from cli.output import errors

app = typer.Typer(
    name="sabia",
    help=__doc__,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in (
    versions.train,
    versions.versions,
    versions.show,
    versions.diff,
    versions.alias,
    versions.doctor,
    platform.serve,
    platform.up,
    platform.down,
    platform.status,
    platform.predict,
    platform.traffic,
    demo,
):
    app.command()(command)


def main() -> None:
    """Run one command; our own errors become one line and an exit code."""
    try:
        app()
    except KNOWN as error:
        errors.print(f"error: {error}", style="red", markup=False)
        sys.exit(code_of(error))


if __name__ == "__main__":
    main()
