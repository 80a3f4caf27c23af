"""Reading a version: the manifest, then every file that it names, each compared in size and sha256.

The caller gets all of them or an error. Files that the manifest does not name are never read.
"""

from __future__ import annotations

from dataclasses import dataclass

from sabia.contract import manifest as manifests
from sabia.contract.layout import MANIFEST, Version, version_prefix
from sabia.contract.manifest import File, Manifest
from sabia.registry.errors import MissingFile, MissingManifest, VersionNotFound, WrongDigest, WrongSize
from sabia.store.errors import KeyNotFound
from sabia.store.objects import Store


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified version: its manifest and the bytes of its files by name."""

    manifest: Manifest
    files: dict[str, bytes]


def read_manifest(store: Store, prefix: str = "") -> Manifest:
    """The manifest under `prefix`.

    Raises:
        MissingManifest: there is none, so there is no version.
        InvalidManifest, UnknownSchema: it is not of the published schema.
        StoreError: the store failed.
    """
    try:
        data = store.get(prefix + MANIFEST)
    except KeyNotFound as error:
        raise MissingManifest(prefix or "the given place") from error
    return manifests.decode(data)


def read_artifact(store: Store, prefix: str = "") -> Artifact:
    """The manifest under `prefix` and every file that it names, verified.

    Raises:
        IntegrityError: something is missing, of another size or of another digest.
        StoreError: the store failed.
    """
    manifest = read_manifest(store, prefix)
    return Artifact(manifest, {entry.name: _read_verified(store, prefix, entry) for entry in manifest.files})


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


def _read_verified(store: Store, prefix: str, entry: File) -> bytes:
    try:
        data = store.get(prefix + entry.path)
    except KeyNotFound as error:
        raise MissingFile(entry.name) from error
    verify(entry, data)
    return data


def verify(entry: File, data: bytes) -> None:
    """Raise WrongSize or WrongDigest unless `data` matches the manifest's entry."""
    if len(data) != entry.size:
        raise WrongSize(entry.name, expected=entry.size, actual=len(data))
    digest = manifests.sha256(data)
    if digest != entry.sha256:
        raise WrongDigest(entry.name, expected=entry.sha256, actual=digest)
