"""Commands that start and stop the platform on this machine: up, down."""

from __future__ import annotations

from typing import Annotated

import typer

from sabia.cli.context import FolderOption, choose
from sabia.cli.deployments import check_faults, print_status
from sabia.cli.errors import CliError
from sabia.contract.layout import Version
from sabia.local import lifecycle
from sabia.local.composition import Serving
from sabia.platforms import DEFAULT_FOLDER
from sabia.terminal import log, print_line

Pairs = list[str] | None


def up(
    folder: FolderOption = DEFAULT_FOLDER,
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
    """Start the platform on this machine: store, predictors, gateway. Trains first when a version is missing."""
    serving = _serving(serve or [], replicas or [], faults or [], baseline or [])
    if foreground:
        lifecycle.hold(folder, serving, log=log)
        return
    again = [("--serve", serve), ("--replicas", replicas), ("--faults", faults), ("--baseline", baseline)]
    lifecycle.start(folder, [word for name, values in again for value in values or [] for word in (name, value)])
    print_status(choose(None, folder).status())


def _serving(serve: list[str], replicas: list[str], faults: list[str], baseline: list[str]) -> Serving:
    counts = _pairs(replicas, "VERSION=N")
    if not all(count.isdecimal() and int(count) > 0 for count in counts.values()):
        raise CliError("--replicas takes VERSION=N, with N at least 1.", 2)
    injected = _pairs(faults, "VERSION=FAULTS")
    for text in injected.values():
        check_faults(text)
    extra = [str(Version.parse(version)) for version in serve]
    copies = [str(Version.parse(version)) for version in baseline]
    return Serving(extra, {version: int(count) for version, count in counts.items()}, injected, copies)


def _pairs(texts: list[str], form: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        version, separator, value = text.partition("=")
        if not separator:
            raise CliError(f"{text!r} is not {form}.", 2)
        pairs[str(Version.parse(version))] = value
    return pairs


def down(folder: FolderOption = DEFAULT_FOLDER) -> None:
    """Stop the platform on this machine; its objects stay for the next `sabia up`."""
    lifecycle.stop(folder)
    print_line("stopped")
