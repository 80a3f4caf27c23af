"""`sabia report` and `sabia labels`: what the models do, from their logs."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import JsonOption, StoreOption, open_store
from cli.errors import CliError
from cli.output import console, print_json, print_table

if TYPE_CHECKING:
    from monitoring.facts import Facts

labels = typer.Typer(help="What turned out to be true.", no_args_is_help=True)

ModelArgument = Annotated[str, typer.Argument(help="The model's name.")]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Where files of a remote store are brought; kept for the next time.")
]
MemoryOption = Annotated[str, typer.Option("--memory", help="What the database may hold in memory, such as 1GB.")]


def report(
    model: ModelArgument,
    since: Annotated[
        str | None, typer.Option("--since", help="First day, UTC, such as 2026-03-01; six days before the last.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Last day, UTC; today without it.")] = None,
    out: Annotated[Path, typer.Option("--out", help="The page to write.")] = Path("report.html"),
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help="End with 1 when something has drifted, for a job to be seen.")
    ] = False,
    cache: CacheOption = None,
    memory: MemoryOption = "1GB",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one page about what a model did: traffic, rollouts, quality, drift. The same as JSON with --json."""
    from monitoring.facts import gather
    from monitoring.report import to_html

    last = day(until) if until else datetime.now(UTC).date()
    first = day(since) if since else last - timedelta(days=6)
    facts = gather(open_store(store), model, first, last, cache=cache, memory=memory)
    if as_json:
        print_json(facts)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(to_html(facts))
        tell(facts)
        console.print(f"the page is {out}", markup=False, soft_wrap=True)
    drifted = {served.version: served.drifted for served in facts.versions if served.drifted}
    if fail_on_drift and drifted:
        named = "; ".join(f"{version}: {', '.join(names)}" for version, names in drifted.items())
        raise CliError(f"What is served is not what was trained on: {named}.")


def tell(facts: Facts) -> None:
    """The summary of a report, for people."""
    rows = []
    for served in facts.versions:
        quality = served.quality
        accuracy = "no labels" if quality is None else f"{quality.accuracy.value:.4f} of {quality.rows:,}"
        known = any(found.drifted is not None for found in served.drift)
        drift = ", ".join(served.drifted) or ("none" if known else "too few rows")
        rows.append([served.version, f"{served.requests:,.0f}", f"{served.failed:,.0f}", accuracy, drift])
    print_table(["version", "requests", "failed", "right", "drift"], rows, title=f"{facts.model}, from the log")


@labels.command("add")
def labels_add(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(help="Parquet, CSV with a header, or JSON lines (.jsonl).")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add labels: columns request_id and label; row and observed_at if wanted. However late, in any order."""
    from monitoring.labels import add

    added = add(open_store(store), model, file)
    if as_json:
        print_json({"model": model, "labels": added.labels, "new": added.new})
    else:
        console.print(f"{added.labels:,} labels of {model}, {added.new:,} of them new", markup=False)


def day(text: str) -> date:
    """A day as the command line has it.

    Raises:
        CliError: it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CliError(f"{text!r} is no day; write 2026-03-01.", 2) from None
