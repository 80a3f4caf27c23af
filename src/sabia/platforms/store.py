"""The store that a platform works with."""

from __future__ import annotations

from pathlib import Path

from sabia.platforms.errors import NoStore
from sabia.store.objects import Store

DEFAULT_FOLDER = Path(".sabia")


def open_store(url: str | None, *, folder: Path = DEFAULT_FOLDER, make: bool = False) -> Store:
    """The store at `url`, or that of the stack that runs in `folder`; `make` creates the folder of a file store.

    Raises:
        NoStore: no URL was given, and no stack runs.
    """
    if url is not None:
        return Store.open(url, make=make)
    from sabia.local import state
    from sabia.local.errors import NotRunning

    try:
        return state.running(folder).access.open()
    except NotRunning as error:
        raise NoStore from error
