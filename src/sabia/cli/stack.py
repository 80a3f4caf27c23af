"""Commands that start and stop the platform on this machine: up, down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sabia.cli.context import FolderOption
from sabia.cli.deployments import check_faults, print_status, statuses
from sabia.cli.errors import CliError
from sabia.contract.layout import Version, check_model_name
from sabia.kubernetes.manifests import ROOT
from sabia.local import lifecycle
from sabia.local.composition import Serving
from sabia.platforms import DEFAULT_FOLDER
from sabia.terminal import log, print_line

Pairs = list[str] | None


def up(
    versions: Annotated[
        Pairs,
        typer.Argument(
            metavar="[MODEL/VERSION]...", help="Serve these instead of manifests, each model's first at 100."
        ),
    ] = None,
    folder: FolderOption = DEFAULT_FOLDER,
    manifests: Annotated[
        Path | None,
        typer.Option(help="Folder of your manifests, with versions/ and traffic/.", exists=True, file_okay=False),
    ] = None,
    store_only: Annotated[
        bool, typer.Option("--store-only", help="Start the store alone, to train and to publish.")
    ] = False,
    serve: Annotated[Pairs, typer.Option("--serve", help="One more version, without a manifest; repeatable.")] = None,
    replicas: Annotated[Pairs, typer.Option(metavar="VERSION=N", help="Servers of a version; repeatable.")] = None,
    faults: Annotated[
        Pairs,
        typer.Option(metavar="VERSION=FAULTS", help="Failures to inject, such as 2.1=errors=0.05; repeatable."),
    ] = None,
    baseline: Annotated[
        Pairs, typer.Option("--baseline", help="A version that gets a second copy; repeatable.")
    ] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and stop with Ctrl-C.")] = False,
) -> None:
    """Start the platform on this machine: store, predictors, gateway.

    Without versions and manifests it serves those of the package, and trains them first if the store lacks one. Where
    several models are served, a version is named MODEL/VERSION in every option.
    """
    named, more = versions or [], serve or []
    if store_only and (named or manifests or more or replicas or faults or baseline):
        raise CliError("--store-only serves nothing: leave versions, manifests and their options out.", 2)
    for text in named:
        if "/" not in text:
            raise CliError(f"{text!r} is not MODEL/VERSION, such as churn/1.0.", 2)
    serving = _serving([*named, *more], replicas or [], faults or [], baseline or [])
    root = manifests.resolve() if manifests is not None else None if named else ROOT
    if foreground:
        lifecycle.hold(folder, serving, root=root, store_only=store_only, log=log)
        return
    options = [("--serve", serve), ("--replicas", replicas), ("--faults", faults), ("--baseline", baseline)]
    again = [word for name, values in options for value in values or [] for word in (name, value)]
    again += ["--manifests", str(root)] if manifests is not None else []
    again += ["--store-only"] if store_only else []
    lifecycle.start(folder, [*again, *named])
    for status in statuses(None, folder):
        print_status(status)


def _serving(serve: list[str], replicas: list[str], faults: list[str], baseline: list[str]) -> Serving:
    counts = _pairs(replicas, "VERSION=N")
    if not all(count.isdecimal() and int(count) > 0 for count in counts.values()):
        raise CliError("--replicas takes VERSION=N, with N at least 1.", 2)
    injected = _pairs(faults, "VERSION=FAULTS")
    for text in injected.values():
        check_faults(text)
    extra, copies = [_version(text) for text in serve], [_version(text) for text in baseline]
    return Serving(extra, {version: int(count) for version, count in counts.items()}, injected, copies)


def _pairs(texts: list[str], form: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        version, separator, value = text.partition("=")
        if not separator:
            raise CliError(f"{text!r} is not {form}.", 2)
        pairs[_version(version)] = value
    return pairs


def _version(text: str) -> str:
    """`VERSION` or `MODEL/VERSION`, checked."""
    model, separator, version = text.rpartition("/")
    if separator:
        check_model_name(model)
    Version.parse(version)
    return text


def down(folder: FolderOption = DEFAULT_FOLDER) -> None:
    """Stop the platform on this machine; its objects stay for the next `sabia up`."""
    lifecycle.stop(folder)
    print_line("stopped")
