"""The content of a store: models, versions, and files that no manifest names."""

from __future__ import annotations

from sabia.contract.layout import (
    MANIFEST,
    MODELS,
    Version,
    alias_prefix,
    model_prefix,
    version_of_manifest,
    version_prefix,
)
from sabia.contract.manifest import Manifest
from sabia.registry.errors import MissingManifest, VersionNotFound
from sabia.registry.verification import read_manifest
from sabia.store.objects import Store


def models(store: Store) -> list[str]:
    """The names under which at least one version is claimed, sorted."""
    keys = [entry.key.split("/") for entry in store.list(f"{MODELS}/")]
    candidates = {parts[1] for parts in keys if len(parts) == 4 and parts[3] == MANIFEST}
    return sorted(candidates)


def versions(store: Store, name: str) -> list[Version]:
    """The claimed versions of a model, oldest number first; empty when there are none."""
    keys = (entry.key for entry in store.list(model_prefix(name)))
    return sorted(version for key in keys if (version := version_of_manifest(key, name)) is not None)


def manifest_of(store: Store, name: str, version: Version) -> Manifest:
    """The manifest of one version.

    Raises:
        VersionNotFound: no manifest claims it.
    """
    try:
        return read_manifest(store, version_prefix(name, version))
    except MissingManifest as error:
        raise VersionNotFound(name, str(version)) from error


def manifests_of(store: Store, name: str) -> list[Manifest]:
    """The manifests of every version, oldest number first."""
    return [manifest_of(store, name, version) for version in versions(store, name)]


def unclaimed(store: Store, name: str) -> list[str]:
    """Keys that no manifest names: files of publishers that died half-way, or lost a race. They are never read."""
    named: set[str] = set()
    for version in versions(store, name):
        prefix = version_prefix(name, version)
        named |= {prefix + MANIFEST} | {prefix + file.path for file in manifest_of(store, name, version).files}
    aliases = alias_prefix(name)
    keys = (entry.key for entry in store.list(model_prefix(name)))
    return sorted(key for key in keys if key not in named and not key.startswith(aliases))
