"""Reading a version: the manifest, then every file that it names, each compared in size and sha256.

The caller gets all of them or an error. Files that the manifest does not name are never read. A file of more than
`LARGE_BYTES` is read in pieces and stays on disk: memory holds it once, when a session opens it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sabia.contract import manifest as manifests
from sabia.contract.errors import InvalidManifest
from sabia.contract.layout import MANIFEST, MODELS, Version, version_prefix
from sabia.contract.manifest import MODEL_FILE, File, Manifest
from sabia.registry.errors import MissingFile, MissingManifest, VersionNotFound, WrongDigest, WrongSize
from sabia.store.errors import KeyNotFound, TooLarge
from sabia.store.objects import LARGE_BYTES, Store

# A manifest of 100,000 inputs has some 20 MB.
_MANIFEST_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Artifact:
    """A verified version.

    Attributes:
        manifest: names every file.
        files: the bytes of each file of at most `LARGE_BYTES`, by name.
        folder: the folder of this machine that holds every file, if one of them is larger; else None.
        is_temporary: whether the folder was made to read them, and is removed with the artifact. A session that is
            open by then keeps what it needs.
    """

    manifest: Manifest
    files: dict[str, bytes]
    folder: Path | None = None
    is_temporary: bool = False

    @property
    def model(self) -> bytes | Path:
        """`model.onnx`: its bytes, or its path where weights are stored beside it or it is large itself."""
        return self.files[MODEL_FILE] if self.folder is None else self.folder / MODEL_FILE

    def remove_with_the_artifact(self) -> None:
        """Remove a temporary folder as soon as no one refers to this object any more."""
        if self.folder is not None and self.is_temporary:
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)


def read_manifest(store: Store, prefix: str = "") -> Manifest:
    """The manifest under `prefix`.

    Under a key of the store's layout it must be the manifest of just that model and version: a copy under another
    number is not that version.

    Raises:
        MissingManifest: there is none, so there is no version.
        InvalidManifest, UnknownSchema: it is not of the published schema, or of another version than its key says.
        StoreError: the store failed.
    """
    try:
        data = store.get(prefix + MANIFEST, limit=_MANIFEST_BYTES)
    except KeyNotFound as error:
        raise MissingManifest(prefix or "the given place") from error
    except TooLarge as error:
        raise InvalidManifest(f"it has {error.size:,} bytes, more than any manifest") from error
    manifest = manifests.decode(data)
    if prefix.startswith(f"{MODELS}/") and prefix != version_prefix(manifest.name, manifest.number):
        raise InvalidManifest(f"it is that of version {manifest.version} of {manifest.name!r}, copied to another place")
    return manifest


def read_artifact(store: Store, prefix: str = "") -> Artifact:
    """The manifest under `prefix` and every file that it names, verified.

    Raises:
        IntegrityError: something is missing, of another size or of another digest.
        StoreError: the store failed.
    """
    manifest = read_manifest(store, prefix)
    if all(entry.size <= LARGE_BYTES for entry in manifest.files):
        return Artifact(manifest, {entry.name: read_file(store, prefix, entry) for entry in manifest.files})
    artifact = _in_place(store, prefix, manifest) or _downloaded(store, prefix, manifest)
    artifact.remove_with_the_artifact()
    return artifact


def read_version(store: Store, name: str, version: Version) -> Artifact:
    """The verified artifact of one version of a model.

    Raises:
        VersionNotFound: no manifest claims it.
        IntegrityError, StoreError: as in `read_artifact`.
    """
    try:
        return read_artifact(store, version_prefix(name, version))
    except MissingManifest as error:
        raise VersionNotFound(name, str(version)) from error


def check_version(store: Store, name: str, version: Version) -> None:
    """Verify every file of one version, in pieces and without keeping them.

    Raises:
        VersionNotFound: no manifest claims it.
        IntegrityError, StoreError: as in `read_artifact`.
    """
    prefix = version_prefix(name, version)
    try:
        manifest = read_manifest(store, prefix)
    except MissingManifest as error:
        raise VersionNotFound(name, str(version)) from error
    for entry in manifest.files:
        for _ in _verified(entry, _pieces(store, prefix, entry)):
            pass


def _in_place(store: Store, prefix: str, manifest: Manifest) -> Artifact | None:
    """The artifact of a store on this machine, whose files stay where they are; None for a store elsewhere."""
    folder = store.file(prefix + manifest.digest)
    if folder is None:
        return None
    for entry in manifest.files:
        for _ in _verified(entry, _pieces(store, prefix, entry)):
            pass
    # The real path: ONNX Runtime refuses weights that a link leads out of the model's folder.
    real = folder.resolve()
    return Artifact(manifest, _small_files(real, manifest), real)


def _downloaded(store: Store, prefix: str, manifest: Manifest) -> Artifact:
    folder = Path(tempfile.mkdtemp(prefix="sabia-"))
    try:
        for entry in manifest.files:
            with (folder / entry.name).open("wb") as file:
                file.writelines(_verified(entry, _pieces(store, prefix, entry)))
        return Artifact(manifest, _small_files(folder, manifest), folder, is_temporary=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _small_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    small = [entry.name for entry in manifest.files if entry.size <= LARGE_BYTES]
    return {name: (folder / name).read_bytes() for name in small}


def _pieces(store: Store, prefix: str, entry: File) -> Iterator[bytes]:
    try:
        yield from store.pieces(prefix + entry.path)
    except KeyNotFound as error:
        raise MissingFile(entry.name) from error


def _verified(entry: File, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces, and WrongSize or WrongDigest after the last one unless together they match the manifest's entry."""
    size, digest = 0, hashlib.sha256()
    for piece in pieces:
        size += len(piece)
        if size > entry.size:  # whatever follows is not read: it may be more than memory or disk can hold
            raise WrongSize(entry.name, expected=entry.size)
        digest.update(piece)
        yield piece
    _compare(entry, size, digest.hexdigest())


def read_file(store: Store, prefix: str, entry: File) -> bytes:
    """One file of the version under `prefix`, verified.

    Raises:
        IntegrityError: it is missing, of another size or of another digest.
        StoreError: the store failed.
    """
    try:
        data = store.get(prefix + entry.path, limit=entry.size)
    except KeyNotFound as error:
        raise MissingFile(entry.name) from error
    except TooLarge as error:
        raise WrongSize(entry.name, expected=entry.size, actual=error.size) from error
    verify(entry, data)
    return data


def verify(entry: File, data: bytes) -> None:
    """Raise WrongSize or WrongDigest unless `data` matches the manifest's entry."""
    _compare(entry, len(data), manifests.sha256(data))


def _compare(entry: File, size: int, digest: str) -> None:
    if size != entry.size:
        raise WrongSize(entry.name, expected=entry.size, actual=size if size < entry.size else None)
    if digest != entry.sha256:
        raise WrongDigest(entry.name, expected=entry.sha256, actual=digest)
