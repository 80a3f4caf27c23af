"""Folders that belong to one user: where files of this machine wait, and where copies of a store are kept.

A folder under a known name, in a folder that every user can write, may have been made by another user, with links in
it. So each is made for its user alone (0700) under the user's own cache folder, and is refused when it is another's.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sabia.errors import SabiaError

_OWN = 0o700


class UnsafeFolder(SabiaError):
    """A folder of this user's belongs to another one, is a link, or cannot be made."""

    exit_code = 5

    def __init__(self, purpose: str, problem: str) -> None:
        super().__init__(f"The folder for {purpose} {problem}; set XDG_CACHE_HOME to a folder of your own.")


def cache_folder(purpose: str, *parts: str, environment: Mapping[str, str] = os.environ) -> Path:
    """A private folder under the user's cache folder, made if it does not exist.

    It is `$XDG_CACHE_HOME/sabia`, else `$HOME/.cache/sabia` (XDG Base Directory Specification 0.8); without a home that
    can be written, a folder with the user's number under the folder for temporary files.

    Args:
        purpose: what it is for, in the plural, for messages.
        parts: names of the folders in it.
        environment: the variables that decide.

    Raises:
        UnsafeFolder: it belongs to another user, is a link, or cannot be made.
    """
    folder = _base(environment)
    try:
        private(folder)
        for part in parts:
            folder /= part
            private(folder)
    except PermissionError as error:
        raise UnsafeFolder(purpose, "belongs to another user, or is a link") from error
    except OSError as error:
        raise UnsafeFolder(purpose, f"cannot be made ({error.strerror})") from error
    return folder


def private(folder: Path) -> None:
    """Make a folder for this user alone, or check that it is one; permissions of others are removed.

    Raises:
        PermissionError: it is another user's, or a link.
        OSError: it cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        folder.mkdir(mode=_OWN)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(folder)
    if stat.S_IMODE(status.st_mode) & ~_OWN:
        folder.chmod(_OWN)


def _base(environment: Mapping[str, str]) -> Path:
    # The specification has relative paths ignored.
    for name, rest in (("XDG_CACHE_HOME", "sabia"), ("HOME", ".cache/sabia")):
        folder = environment.get(name, "")
        if folder.startswith("/") and os.access(_nearest(Path(folder)), os.W_OK | os.X_OK):
            return Path(folder, rest)
    return Path(tempfile.gettempdir(), f"sabia-{os.geteuid()}")


def _nearest(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    while not folder.exists():
        folder = folder.parent
    return folder
