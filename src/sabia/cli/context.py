"""Options that several commands have, and the platform and the store that they choose."""

from __future__ import annotations

import getpass
import os
from pathlib import Path
from typing import Annotated

import typer

from sabia import platforms, terminal
from sabia.platforms import DEFAULT_FOLDER, Platform
from sabia.store.objects import Store

FOLDER_VARIABLE = "SABIA_FOLDER"

StoreOption = Annotated[
    str | None,
    typer.Option("--store", envvar="SABIA_STORE", help="URL of the store; without it, the running stack's."),
]
FolderOption = Annotated[
    Path, typer.Option("--folder", envvar=FOLDER_VARIABLE, help="Folder of the stack on this machine.")
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
ModelOption = Annotated[str | None, typer.Option("--model", help="The model, where several are served.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def choose(namespace: str | None, folder: Path, *, store: str | None = None, model: str | None = None) -> Platform:
    """The platform that a command's options choose; see `platforms.choose`."""
    return platforms.choose(namespace, folder=folder, store=store, model=model, log=terminal.log)


def open_store(url: str | None, *, make: bool = False) -> Store:
    """The store at `url`, or that of the running stack; see `platforms.open_store`."""
    return platforms.open_store(url, folder=Path(os.environ.get(FOLDER_VARIABLE, DEFAULT_FOLDER)), make=make)


def user(default: str = "sabia") -> str:
    """The name under which a person's actions are recorded; `default` in a pod, whose user has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return default
