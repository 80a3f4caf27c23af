"""The spool: disk files while the store is unavailable, each under the key that it will have there.

They outlive the process: the next server with the same folder sends them. Two that send the same file do no harm, since
a file of a log is written once, under a key of its own. Only files of this log are read, and no links: a file that
another user put into the folder is not sent.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import time
from typing import BinaryIO

_UNFINISHED = ".part"
_FINISHED = ".parquet"
# A file is written in milliseconds; a file unfinished for longer was left by a process that has ended.
_ABANDONED_SECONDS = 600.0


class Spool:
    """A folder of at most `limit` bytes of such files; several processes may share it.

    Args:
        folder: where the files are; made when the first one is put.
        limit: bytes of all files together.
        prefix: what the keys of this log start with.
    """

    def __init__(self, folder: Path, limit: int, prefix: str) -> None:
        self._folder = folder
        self._limit = limit
        self._prefix = prefix

    def put(self, key: str, data: bytes) -> bool:
        """Store a file; False when there is no room, or the disk fails."""
        if self.nbytes() + len(data) > self._limit:
            return False
        path = self._folder / key
        unfinished = path.with_name(f"{path.name}{_UNFINISHED}")
        try:
            self._make(path.parent)
            with _open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as file:
                file.write(data)
            unfinished.replace(path)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()
            return False
        return True

    def spooled(self) -> list[str]:
        """The keys of the files, oldest day first; unfinished ones that a process left behind are deleted."""
        self._sweep()
        keys = (str(path.relative_to(self._folder)) for path, _ in self._files() if path.suffix == _FINISHED)
        return sorted(key for key in keys if key.startswith(self._prefix))

    def read(self, key: str) -> bytes | None:
        """A file's bytes; None when another process has sent it."""
        try:
            with _open(self._folder / key, os.O_RDONLY) as file:
                return file.read()
        except OSError:
            return None

    def remove(self, key: str) -> None:
        """Delete a file that has reached the store."""
        (self._folder / key).unlink(missing_ok=True)

    def nbytes(self) -> int:
        """The size of all files."""
        return sum(found.st_size for _, found in self._files())

    def _make(self, folder: Path) -> None:
        """Make the folders down to this one for their user alone; the spool's own may have been made by its owner."""
        for each in (*reversed(folder.relative_to(self._folder).parents), folder.relative_to(self._folder)):
            (self._folder / each).mkdir(mode=0o700, parents=True, exist_ok=True)

    def _sweep(self) -> None:
        for path, found in self._files():
            if path.suffix == _UNFINISHED and time() - found.st_mtime > _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Plain files; folders that are links are not entered."""
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = Path(folder, name)
                try:
                    found = path.lstat()
                except FileNotFoundError:  # another process has just sent it
                    continue
                if stat.S_ISREG(found.st_mode):
                    yield path, found


def _open(path: Path, flags: int) -> BinaryIO:
    """A file for its user alone, and not through a link."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb" if flags & os.O_WRONLY else "rb")
