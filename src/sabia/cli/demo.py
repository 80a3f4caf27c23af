"""`sabia demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sabia.demo.run import ACTS, run


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where everything of the demo goes.")] = Path("build/demo"),
    calls: Annotated[int, typer.Option("--requests", min=100, help="Requests for each split.")] = 1000,
    act: Annotated[int | None, typer.Option("--act", min=ACTS[0], max=ACTS[-1], help="Only this act.")] = None,
) -> None:
    """Run everything once on real servers, checked: training, serving, traffic, rollouts, report."""
    run(folder, calls, act)
