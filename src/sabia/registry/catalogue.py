"""The content of a store: models, versions, and files that no manifest names.

A version that cannot be read is claimed, and its number is never given again; it hides no other version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sabia.contract.errors import InvalidFile
from sabia.contract.layout import (
    MANIFEST,
    MODELS,
    Version,
    alias_of_key,
    alias_prefix,
    is_model_name,
    model_prefix,
    version_of_manifest,
    version_prefix,
)
from sabia.contract.manifest import Manifest
from sabia.registry.errors import IntegrityError, MissingManifest, VersionNotFound
from sabia.registry.verification import read_manifest
from sabia.store.objects import Store
from sabia.store.parallel import in_parallel


@dataclass(frozen=True, slots=True)
class Content:
    """What the store holds of one model.

    Attributes:
        versions: the claimed ones, oldest number first.
        aliases: their names, sorted, retired ones among them.
        keys: of every object.
    """

    name: str
    versions: list[Version]
    aliases: list[str]
    keys: list[str]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A claimed version whose manifest cannot be read, and the reason as one sentence."""

    version: Version
    reason: str


def models(store: Store) -> list[str]:
    """The names under which at least one version is claimed, sorted."""
    return [content.name for content in contents(store, names(store)) if content.versions]


def names(store: Store) -> list[str]:
    """The names under which anything is stored, sorted; folders that are not called as a model may be are left out."""
    prefix = f"{MODELS}/"
    folders = (folder.removeprefix(prefix) for folder in store.folders(prefix))
    return sorted(folder for folder in folders if is_model_name(folder))


def content(store: Store, name: str) -> Content:
    """What the store holds of a model; empty where it holds nothing."""
    keys = [entry.key for entry in store.list(model_prefix(name))]
    claimed = (version_of_manifest(key, name) for key in keys)
    aliases = (alias_of_key(key, name) for key in keys)
    return Content(
        name,
        sorted(version for version in claimed if version is not None),
        sorted(alias for alias in aliases if alias is not None),
        keys,
    )


def contents(store: Store, names: Sequence[str]) -> list[Content]:
    """What the store holds of each of these models."""
    return in_parallel(partial(content, store), names)


def versions(store: Store, name: str) -> list[Version]:
    """The claimed versions of a model, oldest number first; empty when there are none."""
    return content(store, name).versions


def manifest_of(store: Store, name: str, version: Version) -> Manifest:
    """The manifest of one version.

    Raises:
        VersionNotFound: no manifest claims it.
        InvalidManifest, UnknownSchema: the manifest is not of the published schema.
    """
    try:
        return read_manifest(store, version_prefix(name, version))
    except MissingManifest as error:
        raise VersionNotFound(name, str(version)) from error


def attempt(store: Store, name: str, version: Version) -> Manifest | Unreadable:
    """The manifest of a claimed version, or the reason why it cannot be read.

    Raises:
        StoreError: the store failed.
    """
    try:
        return read_manifest(store, version_prefix(name, version))
    except (InvalidFile, IntegrityError) as error:
        return Unreadable(version, str(error))


def read_all(store: Store, name: str) -> tuple[list[Manifest], list[Unreadable]]:
    """The manifests of a model that can be read, and the versions that cannot; each oldest number first."""
    found = in_parallel(partial(attempt, store, name), versions(store, name))
    return [each for each in found if isinstance(each, Manifest)], [
        each for each in found if isinstance(each, Unreadable)
    ]


def manifests_of(store: Store, name: str) -> list[Manifest]:
    """The manifests of every version that can be read, oldest number first."""
    return read_all(store, name)[0]


def newest(store: Store, name: str) -> Manifest | None:
    """The manifest of the newest version that can be read; None where there is none."""
    found = (attempt(store, name, version) for version in reversed(versions(store, name)))
    return next((manifest for manifest in found if isinstance(manifest, Manifest)), None)


def unclaimed(store: Store, name: str) -> list[str]:
    """Keys that no manifest names: files of publishers that died half-way, or lost a race. They are never read.

    The files of a version that cannot be read are unknown, and left out.
    """
    found = content(store, name)
    aliases, kept, named = alias_prefix(name), [], set()
    manifests = in_parallel(partial(attempt, store, name), found.versions)
    for version, manifest in zip(found.versions, manifests, strict=True):
        prefix = version_prefix(name, version)
        if isinstance(manifest, Unreadable):
            kept.append(prefix)
        else:
            named |= {prefix + MANIFEST} | {prefix + file.path for file in manifest.files}
    return sorted(key for key in found.keys if key not in named and not key.startswith((aliases, *kept)))
