"""`sabia`: train, publish, serve, and move traffic.

Exit codes: 0 done; 1 it failed, or a check did not hold; 2 the command line is wrong; 3 there is no such thing;
4 the store does not hold what was published; 5 the store, the stack or the
cluster cannot be reached.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sabia.cli import deployments, evidence, monitoring, platform, rollouts, versions
from sabia.cli.output import errors
from sabia.errors import SabiaError


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where everything of the demo goes.")] = Path("build/demo"),
    calls: Annotated[int, typer.Option("--requests", min=100, help="Calls for each split.")] = 1000,
) -> None:
    """Train six versions, split the traffic, roll one out and another back by evidence, and check all of it."""
    from sabia.demo.run import run

    run(folder, calls)


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
    deployments.deploy,
    deployments.undeploy,
    deployments.status,
    deployments.traffic,
    deployments.predict,
    evidence.evidence,
    monitoring.report,
    monitoring.dash,
    demo,
):
    app.command()(command)
app.add_typer(rollouts.app, name="rollout")
app.add_typer(monitoring.labels, name="labels")
app.add_typer(monitoring.export, name="export")


def main() -> None:
    """Run one command; our own errors become one line and an exit code."""
    try:
        app()
    except SabiaError as error:
        errors.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
