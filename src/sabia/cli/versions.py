"""Commands on models and their versions: train, versions, show, diff, alias, doctor."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from sabia.cli.context import JsonOption, StoreOption, open_store
from sabia.cli.errors import CliError
from sabia.contract.errors import InvalidFile
from sabia.contract.layout import Version, check_model_name
from sabia.registry import aliases as registry_aliases
from sabia.registry import catalogue, listing
from sabia.registry.differences import differences, state_of
from sabia.registry.errors import IntegrityError, VersionNotFound
from sabia.registry.listing import Row, Selection
from sabia.registry.verification import check_version, read_version
from sabia.terminal import log, print_json, print_line, print_table

Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
# The rows of a table without --limit, and the fields of one kind in a table of differences.
_ROWS, _FIELDS = 100, 20
_PATTERN = re.compile(r"[*?\[]")
Number = Annotated[str, typer.Argument(metavar="VERSION", help="MAJOR.MINOR, or an alias.")]


def train(
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe file; without it, the breast-cancer one.", exists=True, dir_okay=False)
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train and publish the versions of a recipe. What the store already holds is found, not written.

    One line is printed for each version, as soon as it is in the store.
    """
    from sabia.training import job

    rows = job.train(open_store(store, make=True), recipe, log=log if as_json else print)
    if as_json:
        print_json(rows)


def versions(
    name: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="Name of the model, or a pattern such as 'fraud-*'.")
    ] = None,
    alias_name: Annotated[
        str | None, typer.Option("--alias", help="Only versions that this alias points to, such as champion.")
    ] = None,
    newest: Annotated[bool, typer.Option("--newest", help="Only the newest version of each model.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=0, help="The greatest number of versions; 0 lists all. 100 in a table.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(metavar="MODEL/VERSION", help="Only what follows this version in the list.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions of a model, or of every model.

    A version whose manifest cannot be read is listed with the reason; `sabia doctor` looks further.
    """
    opened = open_store(store)
    if name and not _PATTERN.search(name):
        check_model_name(name)
    if limit is None and not as_json:
        limit = _ROWS
    selection = Selection(name or "*", alias_name, newest, _position(after) if after else None, limit or None)
    page = listing.page(opened, selection)
    if name and not page.rows and after is None:
        raise VersionNotFound(name, alias_name or "any")
    rows = [_row(row) for row in page.rows]
    if as_json:
        print_json(rows)
        return
    columns = ["model", "version", "aliases", "methods", "metrics", "created_at"]
    print_table(
        columns,
        [[_cell(row[column]) for column in columns[:3]] + _rest(row) for row in rows],
    )
    for row in page.rows:
        if row.problem is not None:
            print_line(f"{row.model} {row.version}: {row.problem}")
    if page.left:
        last = page.rows[-1]
        print_line(f"{page.left} more; the next ones: --after {last.model}/{last.version}")


def _position(text: str) -> tuple[str, Version]:
    model, separator, version = text.partition("/")
    if not separator:
        raise CliError(f"{text!r} is not MODEL/VERSION, such as fraud/1.2.", 2)
    return check_model_name(model), Version.parse(version)


def _row(row: Row) -> dict[str, Any]:
    facts: dict[str, Any] = {"model": row.model, "version": str(row.version), "aliases": row.aliases}
    manifest = row.manifest
    if manifest is None:
        names = ("methods", "task", "metrics", "created_at", "digest", "parent")
        return facts | dict.fromkeys(names) | {"problem": row.problem}
    return facts | {
        "methods": manifest.methods.estimator,
        "task": manifest.metrics.task,
        "metrics": manifest.metrics.values,
        "created_at": manifest.created_at,
        "digest": manifest.digest,
        "parent": manifest.parent,
        "problem": None,
    }


def _rest(row: dict[str, Any]) -> list[str]:
    if row["problem"] is not None:
        return ["unreadable", "", ""]
    metrics = [f"{name} {value:.4g}" for name, value in row["metrics"].items()]
    return [_cell(row["methods"]), ", ".join(metrics[:2]), row["created_at"]]


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " → ".join(str(item).rpartition(".")[2] for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show(name: Name, version: Number, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show one version: its card, or its manifest with --json. Every file is verified first."""
    opened = open_store(store)
    number = registry_aliases.find(opened, name, version)
    catalogue.manifest_of(opened, name, number)
    artifact = read_version(opened, name, number)
    if as_json:
        print_json(artifact.manifest)
        return
    manifest = artifact.manifest
    log(f"{manifest.name} {manifest.version}, created {manifest.created_at}, digest {manifest.digest[:12]}, verified")
    print_line(artifact.files["CARD.md"].decode())


def diff(
    name: Name,
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="MAJOR.MINOR, or an alias.")],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="MAJOR.MINOR, or an alias.")],
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two versions: methods, data, hyper-parameters, parameters, metrics."""
    opened = open_store(store)
    pair = [catalogue.manifest_of(opened, name, registry_aliases.find(opened, name, text)) for text in (before, after)]
    first, second = [(manifest, state_of(opened, manifest)) for manifest in pair]
    changes = differences(first, second)
    if as_json:
        print_json({"before": pair[0].version, "after": pair[1].version, "changes": changes})
        return
    rows = [
        [kind, field, _cell(old), _cell(new)]
        for kind, fields in changes.items()
        for field, (old, new) in list(fields.items())[:_FIELDS]
    ]
    print_table(["what", "field", pair[0].version, pair[1].version], rows)
    for kind, fields in changes.items():
        if len(fields) > _FIELDS:
            print_line(f"{len(fields) - _FIELDS} more {kind} differ; all of them: --json")


def alias(
    name: Name,
    alias_name: Annotated[
        str | None, typer.Argument(metavar="[ALIAS]", help="Such as champion; all without it.")
    ] = None,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Where to point it.")] = None,
    retire: Annotated[bool, typer.Option("--retire", help="Retire the alias.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or move the aliases of a model. A move fails if the alias was moved concurrently."""
    opened = open_store(store)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if alias_name is None:
        found = {name_: str(number) for name_, number in registry_aliases.aliases(opened, name).items()}
        print_json(found) if as_json else print_table(["alias", "version"], found.items())
        return
    if retire:
        registry_aliases.retire(opened, name, alias_name, at=now)
    elif version is not None:
        registry_aliases.point(opened, name, alias_name, registry_aliases.find(opened, name, version), at=now)
    history = registry_aliases.history(opened, name, alias_name)
    if as_json:
        print_json(history)
        return
    print_table(["version", "since"], [[move.version or "retired", move.at] for move in history.history])


def doctor(name: Name, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Verify every version of a model. Lists keys that no manifest names. Exit code 4 when a version is damaged."""
    opened = open_store(store)
    content = catalogue.content(opened, name)
    if not content.keys:
        raise VersionNotFound(name, "any")
    problems = {str(number): _problem(partial(check_version, opened, name, number)) for number in content.versions}
    problems |= {at: _problem(partial(registry_aliases.history, opened, name, at)) for at in content.aliases}
    damaged = {at: problem for at, problem in problems.items() if problem is not None}
    left = catalogue.unclaimed(opened, name)
    if as_json:
        verified = [str(number) for number in content.versions if problems[str(number)] is None]
        print_json({"verified": verified, "damaged": damaged, "unclaimed": left})
    else:
        print_table(["version or alias", "state"], [[at, problem or "verified"] for at, problem in problems.items()])
        title = "keys that no manifest names, left by publishers that died or lost a race"
        print_table([title], [[key] for key in left])
    if damaged:
        listed = "; ".join(f"{at}: {problem}" for at, problem in damaged.items())
        raise CliError(f"{name} has damaged versions or aliases. {listed}", 4)


def _problem(read: Callable[[], object]) -> str | None:
    """The reason why something is not what was published, as one sentence; None when it is."""
    try:
        read()
    except (InvalidFile, IntegrityError) as error:
        return str(error)
    return None
