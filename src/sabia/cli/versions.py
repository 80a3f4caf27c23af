"""Commands on models and their versions: train, versions, show, diff, alias, doctor."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from sabia.cli.context import JsonOption, StoreOption, open_store
from sabia.contract.manifest import Manifest
from sabia.registry import aliases as registry_aliases
from sabia.registry import catalogue
from sabia.registry.errors import VersionNotFound
from sabia.registry.verification import check_version, read_version
from sabia.store.objects import Store
from sabia.terminal import log, print_json, print_line, print_table

Name = Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model.")]
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
    name: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Name of the model; all without it.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the versions of a model, or of every model."""
    opened = open_store(store)
    names = [name] if name else catalogue.models(opened)
    rows = [_row(opened, model, manifest) for model in names for manifest in catalogue.manifests_of(opened, model)]
    if name and not rows:
        raise VersionNotFound(name, "any")
    if as_json:
        print_json(rows)
        return
    columns = ["model", "version", "aliases", "methods", "accuracy", "roc_auc", "created_at"]
    print_table(columns, [[_cell(row[column]) for column in columns] for row in rows])


def _row(store: Store, name: str, manifest: Manifest) -> dict[str, Any]:
    pointing = [alias for alias, version in registry_aliases.aliases(store, name).items() if version == manifest.number]
    return {
        "model": name,
        "version": manifest.version,
        "aliases": pointing,
        "methods": manifest.methods.estimator,
        "accuracy": manifest.metrics.values.get("accuracy"),
        "roc_auc": manifest.metrics.values.get("roc_auc"),
        "created_at": manifest.created_at,
        "digest": manifest.digest,
        "parent": manifest.parent,
    }


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " → ".join(str(item).rpartition(".")[2] for item in value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)


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
    """Compare two versions: methods, data, hyper-parameters, metrics."""
    opened = open_store(store)
    pair = [catalogue.manifest_of(opened, name, registry_aliases.find(opened, name, text)) for text in (before, after)]
    changes = differences(*pair)
    if as_json:
        print_json({"before": pair[0].version, "after": pair[1].version, "changes": changes})
        return
    rows = [
        [kind, field, _cell(old), _cell(new)]
        for kind, fields in changes.items()
        for field, (old, new) in fields.items()
    ]
    print_table(["what", "field", pair[0].version, pair[1].version], rows)


def differences(before: Manifest, after: Manifest) -> dict[str, dict[str, tuple[Any, Any]]]:
    """The fields that differ, by what they belong to; each with its value before and after."""
    pairs = {
        "methods": (before.methods, after.methods),
        "data": (before.provenance.dataset, after.provenance.dataset),
        "hyper-parameters": (before.hyper_params, after.hyper_params),
        "metrics": (before.metrics, after.metrics),
    }
    found = {kind: _changed(msgspec.to_builtins(old), msgspec.to_builtins(new)) for kind, (old, new) in pairs.items()}
    return {kind: fields for kind, fields in found.items() if fields}


def _changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    fields = sorted(before.keys() | after.keys())
    return {field: (before.get(field), after.get(field)) for field in fields if before.get(field) != after.get(field)}


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
    for number in catalogue.versions(opened, name):
        check_version(opened, name, number)
    left = catalogue.unclaimed(opened, name)
    if as_json:
        print_json({"verified": [str(number) for number in catalogue.versions(opened, name)], "unclaimed": left})
        return
    print_table(["keys that no manifest names, left by publishers that died or lost a race"], [[key] for key in left])
