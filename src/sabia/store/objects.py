"""One object store, by URL: `s3://`, `gs://`, `az://`, `file://`, `memory://`.

Endpoint, region and credentials come from the standard environment names of each cloud (`AWS_ENDPOINT_URL`,
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, …).

Three kinds of writing, none of which overwrites what the caller does not know:

- `create` puts an object under a key that holds nothing, and `create_file` does so with a file of any size;
- `create_unique` does so under a key that no other writer chooses, and needs no right to read;
- `swap` replaces the object that the caller has read, and fails if another writer replaced it first.

`create` and `swap` are repeated when the store does not respond, and succeed also when the response of an earlier try
was lost: on "already exists" or "precondition failed" they read the key, and the same bytes mean that it had worked.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

import obstore
from obstore import exceptions
from obstore.store import LocalStore, MemoryStore, from_url

from sabia.store.errors import (
    InvalidStoreUrl,
    KeyNotFound,
    KeyTaken,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    TooLarge,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az", "file", "memory")
_ATTEMPTS = 3
_OPENING = "opening the store"

# Larger files are written and read in pieces: they are never in memory whole.
LARGE_BYTES = 32 * 2**20
_PIECE_BYTES = 8 * 2**20
# Pieces of one upload that are in memory at once.
_UPLOADS = 4

# The library retries reads only, since create-only writes are not idempotent to it: `_persist` repeats those.
_PATIENCE_SECONDS = 20.0
_BACKOFF: Any = {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2}


@dataclass(frozen=True, slots=True)
class Entry:
    """One object: its key under the store's root, and its size in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Tagged:
    """An object's bytes, and the store's tag for exactly these bytes."""

    data: bytes
    tag: str


class _Library:
    """Whether the library can be used: its threads start with its first call, and a forked process has none of them."""

    def __init__(self) -> None:
        self._started = self.is_lost = False
        os.register_at_fork(after_in_child=self._forked)

    def use(self, what: str) -> None:
        """Note a call; without its threads it would never return.

        Raises:
            StoreRefused: this process was forked from one that had made a call.
        """
        if self.is_lost:
            raise StoreRefused(
                what, "this process was forked from one that had used a store, and shares no thread with it"
            )
        self._started = True

    def _forked(self) -> None:
        self.is_lost = self._started


_LIBRARY = _Library()


def is_lost() -> bool:
    """Whether no store can be used here: this process was forked from one that had used one."""
    return _LIBRARY.is_lost


class Store:
    """Objects under one root."""

    def __init__(self, url: str, backend: ObjectStore) -> None:
        self.url = url.rstrip("/") + "/"
        self._backend = backend

    @classmethod
    def open(
        cls,
        url: str,
        *,
        make: bool = False,
        environment: Mapping[str, str] | None = None,
        patience: float = _PATIENCE_SECONDS,
    ) -> Store:
        """Open the store at `url`.

        Args:
            url: of one of the schemes above, with an optional prefix.
            make: create the folder of a `file://` URL.
            environment: variables that take precedence over those of the process.
            patience: seconds after which a call to a store that does not respond fails.

        Raises:
            InvalidStoreUrl: not a URL of a known scheme.
            StoreRefused: the folder does not exist, or the configuration is not valid.
        """
        scheme, rest = _split(url)
        if scheme == "memory":
            return cls(url, MemoryStore())
        with _translated(_OPENING):
            if scheme == "file":
                return cls(url, _local(Path(unquote(rest)), make=make))
            return cls(url, _remote(url, scheme, environment or {}, patience))

    def uri(self, key: str = "") -> str:
        """The URI of a key, for other tools."""
        return self.url + key

    def get(self, key: str, *, limit: int | None = None) -> bytes:
        """The bytes under `key`.

        Args:
            key: where.
            limit: the most bytes that are read; the size is known before the first of them.

        Raises:
            KeyNotFound: the key holds nothing.
            TooLarge: it holds more than the limit; nothing was read.
            StoreError: the store failed.
        """
        return self.get_tagged(key, limit=limit).data

    def get_tagged(self, key: str, *, limit: int | None = None) -> Tagged:
        """The bytes under `key` and their tag, for `swap`."""
        with _translated(f"reading {key!r}", key=key):
            result = obstore.get(self._backend, key)
            if limit is not None and result.meta["size"] > limit:
                raise TooLarge(key, result.meta["size"], limit)
            return Tagged(bytes(result.bytes()), result.meta["e_tag"] or "")

    def pieces(self, key: str) -> Iterator[bytes]:
        """The bytes under `key` in pieces of some megabytes, in order.

        Raises:
            KeyNotFound: the key holds nothing.
            StoreError: the store failed, perhaps after some pieces.
        """
        size = self.size(key)
        for start in range(0, size, _PIECE_BYTES):
            # A request for each: the library's timeout is of a whole request, and a large file takes longer.
            with _translated(f"reading {key!r}", key=key):
                piece = obstore.get_range(self._backend, key, start=start, end=min(start + _PIECE_BYTES, size))
            yield bytes(piece)

    def size(self, key: str) -> int:
        """The number of bytes under `key`.

        Raises:
            KeyNotFound: the key holds nothing.
            StoreError: the store failed.
        """
        with _translated(f"reading {key!r}", key=key):
            return obstore.head(self._backend, key)["size"]

    def file(self, key: str) -> Path | None:
        """The file that holds `key` on this machine; None for a store elsewhere."""
        if not isinstance(self._backend, LocalStore):
            return None
        return Path(str(self._backend.prefix)) / key

    def folders(self, prefix: str) -> list[str]:
        """What stands between `prefix`, which ends with a slash, and the next slash of each key: as prefixes, sorted.

        They are given without their last slash.
        """
        with _translated(f"listing {prefix!r}"):
            found = obstore.list_with_delimiter(self._backend, prefix=prefix)
            return sorted(folder.rstrip("/") for folder in found["common_prefixes"])

    def list(self, prefix: str) -> Iterator[Entry]:
        """Every object whose key starts with `prefix`, which ends with a slash."""
        with _translated(f"listing {prefix!r}"):
            for batch in obstore.list(self._backend, prefix=prefix):
                for meta in batch:
                    yield Entry(meta["path"], meta["size"])

    def create(self, key: str, data: bytes) -> bool:
        """Put `data` under a key that holds nothing. True when this call wrote it, False when the same bytes exist.

        Raises:
            KeyTaken: the key holds other bytes; they stay.
            StoreError: the store failed.
        """
        if self._persist(f"creating {key!r}", lambda: self._put_new(key, data)):
            return True
        if self.get(key) == data:
            return False
        raise KeyTaken(key)

    def create_file(self, key: str, path: Path) -> bool:
        """Put the file at `path` under a key that holds nothing; True and False as `create` returns them.

        No store offers to create an object by a multipart upload, so a file of more than `LARGE_BYTES` is written when
        the key holds nothing, and the last of several simultaneous writers wins. The key must be named for a digest of
        the content: then all of them write the same bytes.

        Raises:
            KeyTaken: the key holds other bytes; they stay.
            StoreError: the store failed.
        """
        if path.stat().st_size <= LARGE_BYTES:
            return self.create(key, path.read_bytes())
        try:
            size = self.size(key)
        except KeyNotFound:
            return self._persist(f"creating {key!r}", lambda: self._put_file(key, path))
        if size == path.stat().st_size and self._holds(key, path):
            return False
        raise KeyTaken(key)

    def _holds(self, key: str, path: Path) -> bool:
        with path.open("rb") as file:
            return all(piece == file.read(len(piece)) for piece in self.pieces(key))

    def create_unique(self, key: str, data: bytes) -> None:
        """Put `data` under a key that no other writer chooses, such as one with a UUID in it.

        An object that exists already is from an earlier try of the same caller, so it is not read. It tries once.

        Raises:
            StoreError: the store failed.
        """
        with _translated(f"creating {key!r}"):
            self._put_new(key, data)

    def swap(self, key: str, data: bytes, *, expected: Tagged | None) -> None:
        """Replace the bytes under `key`, if they are still `expected` (None: if the key holds nothing).

        Raises:
            KeyTaken: the key holds other bytes now.
            StoreError: the store failed.
        """
        if expected is None:
            self.create(key, data)
            return
        swapped = self._persist(f"replacing {key!r}", lambda: self._put_over(key, data, expected))
        if not swapped and self.get(key) != data:
            raise KeyTaken(key)

    def _persist(self, what: str, put: Callable[[], bool]) -> bool:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with _translated(what):
                    return put()
            except StoreUnavailable:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable: the loop returns or raises")

    def _put_new(self, key: str, data: bytes) -> bool:
        try:
            obstore.put(self._backend, key, data, mode="create", use_multipart=False)
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            return False
        return True

    def _put_file(self, key: str, path: Path) -> bool:
        obstore.put(self._backend, key, path, use_multipart=True, chunk_size=_PIECE_BYTES, max_concurrency=_UPLOADS)
        return True

    def _put_over(self, key: str, data: bytes, expected: Tagged) -> bool:
        if isinstance(self._backend, LocalStore):
            return self._put_over_file(key, data, expected)
        try:
            obstore.put(self._backend, key, data, mode={"e_tag": expected.tag}, use_multipart=False)
        except (exceptions.PreconditionError, exceptions.NotFoundError, FileNotFoundError):
            return False
        return True

    def _put_over_file(self, key: str, data: bytes, expected: Tagged) -> bool:
        # A file system has no compare-and-swap; a lock held by every writer of this class makes one of read and
        # rename. The lock file is stored beside the data, not among the keys.
        root = cast("LocalStore", self._backend).prefix
        with (Path(str(root)) / ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.get_tagged(key) != expected:
                return False
            obstore.put(self._backend, key, data, mode="overwrite", use_multipart=False)
            return True


def _split(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise InvalidStoreUrl(url, f"start with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if parts.scheme in ("s3", "gs", "az") and not parts.netloc:
        raise InvalidStoreUrl(url, f"write {parts.scheme}://BUCKET/PREFIX")
    if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
        raise InvalidStoreUrl(url, "write file:///ABSOLUTE/PATH")
    return parts.scheme, parts.path


def _local(folder: Path, *, make: bool) -> LocalStore:
    if not make and not folder.is_dir():
        raise StoreRefused("to open", "the folder of this file:// URL does not exist")
    return LocalStore(folder, mkdir=make)


def _remote(url: str, scheme: str, environment: Mapping[str, str], patience: float) -> ObjectStore:
    options: dict[str, Any] = {
        "retry_config": {"max_retries": 4, "retry_timeout": timedelta(seconds=patience), "backoff": _BACKOFF},
        "client_options": {},
    }
    if patience < _PATIENCE_SECONDS:
        options["client_options"] = {"timeout": timedelta(seconds=patience)}
    if scheme == "s3":
        everything = os.environ | dict(environment)
        endpoint = everything.get("AWS_ENDPOINT_URL_S3") or everything.get("AWS_ENDPOINT_URL") or ""
        config = {name.lower(): value for name, value in environment.items() if name.startswith("AWS_")}
        options["config"] = config | ({"aws_endpoint_url": endpoint} if endpoint else {})
        # Plain HTTP only where the operator wrote it: an endpoint inside a cluster or on this machine.
        options["client_options"]["allow_http"] = endpoint.startswith("http://")
    return from_url(url.rstrip("/"), **options)


@contextmanager
def _translated(what: str, key: str | None = None) -> Iterator[None]:
    """Turn the library's errors into those of `sabia.store.errors`. Their texts, with paths and bodies, are dropped."""
    if what != _OPENING:
        _LIBRARY.use(what)
    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError) as error:
        raise KeyNotFound(key or what) from error
    except Exception as error:
        raise translate(error, what) from error


def translate(error: Exception, what: str) -> Exception:
    """The `StoreError` for an error of the library; any other error is returned as it is."""
    if isinstance(error, (StoreError, TooLarge)):
        return error
    if "NoSuchBucket" in str(error):  # the library has no class for it
        return StoreRefused(what, "there is no such bucket")
    reason = next((text for kind, text in REFUSALS.items() if isinstance(error, kind)), None)
    if reason is not None:
        return StoreRefused(what, reason)
    if isinstance(error, (exceptions.BaseError, OSError)):
        return StoreUnavailable(what)
    return error


REFUSALS: dict[type[Exception], str] = {
    exceptions.PermissionDeniedError: "the credentials do not allow it",
    PermissionError: "the credentials do not allow it",
    exceptions.UnauthenticatedError: "the credentials are not known there",
    exceptions.InvalidPathError: "the key is not one that this store can hold",
    exceptions.NotSupportedError: "this store cannot do it",
    NotImplementedError: "this store cannot do it",
    exceptions.UnknownConfigurationKeyError: "its configuration has a key that is not known",
    exceptions.AlreadyExistsError: "the key holds something already",
    exceptions.PreconditionError: "it changed in the meantime",
    exceptions.NotModifiedError: "it has not changed",
    ValueError: "its configuration is not valid",
}
