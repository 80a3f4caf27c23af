"""The spool: disk files while the store is unavailable, each under the key that it will have there.

They outlive the process: the next server with the same folder sends them. Two that send the same file do no harm, since
a file of a log is written once, under a key of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_UNFINISHED = ".part"


class Spool:
    """A folder of at most `limit` bytes of such files; several processes may share it."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    def put(self, key: str, data: bytes) -> bool:
        """Store a file; False when there is no room, or the disk fails."""
        if self.nbytes() + len(data) > self._limit:
            return False
        path = self._folder / key
        unfinished = path.with_name(f"{path.name}{_UNFINISHED}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(data)
            unfinished.replace(path)
        except OSError:
            return False
        return True

    def spooled(self) -> list[str]:
        """The keys of the files, oldest day first."""
        return sorted(str(path.relative_to(self._folder)) for path in self._files() if path.suffix != _UNFINISHED)

    def read(self, key: str) -> bytes | None:
        """A file's bytes; None when another process has sent it."""
        try:
            return (self._folder / key).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, key: str) -> None:
        """Delete a file that has reached the store."""
        (self._folder / key).unlink(missing_ok=True)

    def nbytes(self) -> int:
        """The size of all files."""
        total = 0
        for path in self._files():
            try:
                total += path.stat().st_size
            except FileNotFoundError:  # sent by another process in this moment
                continue
        return total

    def _files(self) -> Iterator[Path]:
        return (Path(folder, name) for folder, _, names in os.walk(self._folder) for name in names)
