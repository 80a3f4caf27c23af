"""Commands on the inference log: report, drift, dash, labels, export."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sabia.cli.context import (
    FolderOption,
    JsonOption,
    ModelOption,
    NamespaceOption,
    StoreOption,
    choose,
    open_store,
    user,
)
from sabia.cli.errors import CliError
from sabia.platforms import DEFAULT_FOLDER, Platform
from sabia.rollout.events import Action
from sabia.terminal import print_json, print_line, print_table

if TYPE_CHECKING:
    from sabia.monitoring.live.ports import Ports

export = typer.Typer(help="Export the log and the labels to other tools.", no_args_is_help=True)
labels = typer.Typer(help="Add labels: the true values of predictions.", no_args_is_help=True)

ModelArgument = Annotated[str, typer.Argument(help="The model's name.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="First day, UTC, such as 2026-03-01; six days before the last.")
]
UntilOption = Annotated[str | None, typer.Option("--until", help="Last day, UTC; today by default.")]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Folder for files of a remote store; kept for the next run.")
]
MemoryOption = Annotated[str, typer.Option("--memory", help="Memory limit of the database, such as 1GB.")]


def report(
    model: ModelArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    out: Annotated[Path, typer.Option("--out", help="The page to write.")] = Path("report.html"),
    to_store: Annotated[
        bool, typer.Option("--to-store", help="Write the page and the JSON document to the store instead.")
    ] = False,
    fail_on_drift: Annotated[
        bool, typer.Option("--fail-on-drift", help="Exit code 1 when a version has drifted.")
    ] = False,
    cache: CacheOption = None,
    memory: MemoryOption = "1GB",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of a model: traffic, rollouts, quality, drift; the same as JSON with --json."""
    from sabia.monitoring import jobs, table
    from sabia.monitoring.errors import DriftDetected
    from sabia.monitoring.page import to_html
    from sabia.monitoring.report import generate

    opened, (first, last) = open_store(store), _days(since, until)
    document = generate(opened, model, first, last, cache=cache, memory=memory)
    if to_store:
        for key in jobs.publish(opened, document):
            print(f"wrote {opened.uri(key)}")
    elif as_json:
        print_json(document)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(to_html(document))
        print_table(table.COLUMNS, table.rows(document), title=f"{document.model}, from the log")
        if document.unjudged:
            print_line(document.unjudged)
        print_line(f"the page is {out}")
    if fail_on_drift and document.drifted:
        raise DriftDetected(document.drifted)


def drift(
    model: ModelArgument,
    since: SinceOption = None,
    until: UntilOption = None,
    memory: MemoryOption = "512MB",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fail when a served version has drifted. Names its features, and ends with exit code 1."""
    from sabia.monitoring import jobs
    from sabia.monitoring.errors import DriftDetected

    drifted = jobs.drift_verdict(open_store(store), model, *_days(since, until), memory=memory)
    if as_json:
        print_json(drifted)
    if drifted:
        raise DriftDetected(drifted)


def dash(
    model: ModelOption = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port; 0 takes a free one.")] = 8501,
    actions: Annotated[
        bool, typer.Option("--actions", help="Add buttons to pause, resume, promote and abort; they need a token.")
    ] = False,
    names: Annotated[
        list[str] | None, typer.Option("--name", help="A host name of the page, beside localhost; repeatable.")
    ] = None,
    prometheus: Annotated[
        str | None,
        typer.Option("--prometheus", help="URL of a Prometheus to read counters from; else the servers."),
    ] = None,
    store: StoreOption = None,
    folder: FolderOption = DEFAULT_FOLDER,
    namespace: NamespaceOption = None,
) -> None:
    """Serve the live page: versions, weights, rollouts with their evidence, drift.

    Several models have a page each, and a list of them; `--model` serves one alone.
    """
    from sabia.monitoring.live.server import serve_live

    platform = choose(namespace, folder, store=store, model=model)
    served = [] if model is not None else platform.models()
    if len(served) < 2:
        served = [platform.model]
    token = (os.environ.get("SABIA_DASH_TOKEN") or secrets.token_urlsafe(24)) if actions else None

    def on_ready(taken: int) -> None:
        print(f"the live page is http://{host}:{taken}", flush=True)
        if token is not None and "SABIA_DASH_TOKEN" not in os.environ:
            print(f"the token for actions is {token}", flush=True)

    serve_live(
        platform.store(),
        {each: _ports(choose(namespace, folder, store=store, model=each), prometheus) for each in served},
        host=host,
        port=port,
        names=names or [],
        token=token,
        on_ready=on_ready,
    )


def _ports(platform: Platform, prometheus: str | None) -> Ports:
    """The platform of one model, as the live page uses it."""
    from sabia.monitoring.live.ports import Ports

    def act(name: str, action: Action, version: str | None) -> None:
        platform.act(name, action, actor=user("live page"), version=version)

    return Ports(platform.split(), platform.source(prometheus), act)


@labels.command("add")
def labels_add(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(help="Parquet, CSV with a header, or JSON lines (.jsonl).")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add labels: columns request_id and label, optionally row and observed_at; at any time, in any order."""
    from sabia.monitoring.labels import add

    added = add(open_store(store), model, file)
    if as_json:
        print_json({"model": model, "labels": added.labels, "new": added.new})
    else:
        print_line(f"{added.labels:,} labels of {model}, {added.new:,} of them new")


@export.command("sql")
def export_sql(
    model: ModelArgument,
    engine: Annotated[str, typer.Argument(help="athena, bigquery, redshift or trino.")],
    location: Annotated[
        str | None, typer.Option("--location", help="The store's root as the engine knows it, such as gs://bucket.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Print the statements by which a query engine reads the log and the labels from the store."""
    from sabia.monitoring.export.ddl import ENGINES, ddl

    if engine not in ENGINES:
        raise CliError(f"There is no engine {engine!r}; there are {', '.join(ENGINES)}.", 2)
    print(ddl(open_store(store), model, engine, location))


@export.command("postgres")
def export_postgres(
    model: ModelArgument,
    url: Annotated[
        str, typer.Option("--url", envvar="SABIA_POSTGRES", help="postgresql://USER:PASSWORD@HOST/DATABASE.")
    ],
    since: SinceOption = None,
    until: UntilOption = None,
    cache: CacheOption = None,
    memory: MemoryOption = "1GB",
    store: StoreOption = None,
) -> None:
    """Load some days into the schema `sabia` of a PostgreSQL, replacing their rows."""
    from sabia.monitoring.archive import Archive
    from sabia.monitoring.export.postgres import to_postgres

    opened, (first, last) = open_store(store), _days(since, until)
    with Archive(opened, model, first, last, cache=cache, memory=memory) as archive:
        count = to_postgres(archive, opened, url)
    print_line(f"{count:,} rows of {first} to {last}: sabia.inference_log, labels, responses, daily")


@export.command("duckdb")
def export_duckdb(
    model: ModelArgument,
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    since: SinceOption = None,
    until: UntilOption = None,
    cache: CacheOption = None,
    memory: MemoryOption = "1GB",
    store: StoreOption = None,
) -> None:
    """Write some days into a DuckDB file, replacing its content."""
    from sabia.monitoring.archive import Archive
    from sabia.monitoring.export.duckdbfile import to_duckdb

    opened, (first, last) = open_store(store), _days(since, until)
    with Archive(opened, model, first, last, cache=cache, memory=memory) as archive:
        count = to_duckdb(archive, opened, file)
    print_line(f"{count:,} rows of {first} to {last}: inference_log, labels, responses, daily")


def _days(since: str | None, until: str | None) -> tuple[date, date]:
    last = day(until) if until else datetime.now(UTC).date()
    return (day(since) if since else last - timedelta(days=6)), last


def day(text: str) -> date:
    """Parse a day.

    Raises:
        CliError: it is not a day.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CliError(f"{text!r} is not a day; write 2026-03-01.", 2) from None
