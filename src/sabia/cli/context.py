"""Which store and which stack a command means."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

from sabia.cli.errors import CliError
from sabia.local import stack as stacks
from sabia.local.errors import NotRunning
from sabia.store.objects import Store

FOLDER = Path("build/stack")
FOLDER_VARIABLE = "SABIA_FOLDER"

StoreOption = Annotated[
    str | None,
    typer.Option("--store", envvar="SABIA_STORE", help="URL of the store; without it, the running stack's."),
]
FolderOption = Annotated[
    Path, typer.Option("--folder", envvar=FOLDER_VARIABLE, help="Where the stack keeps what it needs.")
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        envvar="SABIA_NAMESPACE",
        help="A namespace of the cluster that KUBECONFIG names; without it, the stack on this machine.",
    ),
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Which model, where a namespace has more than one.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def user() -> str:
    """The name under which a person's actions are recorded; in a pod, whose user has no name, "sabia"."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "sabia"


def open_store(url: str | None, *, make: bool = False, folder: Path | None = None) -> Store:
    """The store at `url`, or that of the stack that runs in `folder`.

    Raises:
        CliError: no URL was given and no stack runs.
    """
    if url is not None:
        return Store.open(url, make=make)
    try:
        return stacks.running(folder or Path(os.environ.get(FOLDER_VARIABLE, FOLDER))).access.open()
    except NotRunning as error:
        raise CliError("No store: give --store URL, set SABIA_STORE, or start a stack with `sabia up`.", 5) from error
