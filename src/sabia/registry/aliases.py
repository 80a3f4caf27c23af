"""Aliases: names such as `champion` and `challenger`, each of which points to one version and keeps its history.

An alias moves by compare-and-swap: a move that was decided on an older state than the store's fails and writes nothing.
"""

from __future__ import annotations

import msgspec

from sabia.contract.layout import Version, alias_key, alias_of_key, alias_prefix
from sabia.registry.catalogue import manifest_of
from sabia.registry.errors import AliasMoved, AliasNotFound, InvalidAlias
from sabia.store.errors import KeyNotFound, KeyTaken
from sabia.store.objects import Store, Tagged

SCHEMA_VERSION = 1


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One move: to which version (None: retired), and when (RFC 3339, UTC)."""

    version: str | None
    at: str


class Alias(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An alias and its moves, oldest first."""

    schema_version: int
    alias: str
    history: list[Move]

    @property
    def version(self) -> Version | None:
        """The version it points to now, or None when it is retired."""
        text = self.history[-1].version
        return Version.parse(text) if text is not None else None


def resolve(store: Store, name: str, alias: str) -> Version:
    """The version an alias points to.

    Raises:
        AliasNotFound: it was never set, or is retired.
    """
    stored = _read(store, name, alias)
    version = stored[0].version if stored else None
    if version is None:
        raise AliasNotFound(name, alias)
    return version


def find(store: Store, name: str, text: str) -> Version:
    """The version that `text` names: a number, or an alias. No alias starts with a digit.

    Raises:
        InvalidName: it is neither.
        AliasNotFound: the alias was never set, or is retired.
    """
    return Version.parse(text) if text[:1].isdigit() else resolve(store, name, text)


def history(store: Store, name: str, alias: str) -> Alias:
    """The alias with every move.

    Raises:
        AliasNotFound: it was never set.
    """
    stored = _read(store, name, alias)
    if stored is None:
        raise AliasNotFound(name, alias)
    return stored[0]


def aliases(store: Store, name: str) -> dict[str, Version]:
    """The versions that a model's aliases point to, by alias; retired aliases are left out."""
    keys = (alias_of_key(entry.key, name) for entry in store.list(alias_prefix(name)))
    names = sorted(alias for alias in keys if alias is not None)
    versions = {alias: history(store, name, alias).version for alias in names}
    return {alias: version for alias, version in versions.items() if version is not None}


def point(store: Store, name: str, alias: str, version: Version, *, at: str) -> Alias:
    """Point an alias to a version that exists.

    Raises:
        VersionNotFound: no manifest claims the version.
        AliasMoved: another writer moved the alias at the same time; nothing was written.
    """
    manifest_of(store, name, version)
    return _move(store, name, alias, Move(str(version), at))


def retire(store: Store, name: str, alias: str, *, at: str) -> Alias:
    """Retire an alias: it points to no version, and keeps its history.

    Raises:
        AliasNotFound: it points to no version.
        AliasMoved: another writer moved it at the same time; nothing was written.
    """
    resolve(store, name, alias)
    return _move(store, name, alias, Move(None, at))


def _move(store: Store, name: str, alias: str, move: Move) -> Alias:
    current, tagged = _read(store, name, alias) or (Alias(SCHEMA_VERSION, alias, []), None)
    moved = Alias(SCHEMA_VERSION, alias, [*current.history, move])
    try:
        store.swap(alias_key(name, alias), msgspec.json.encode(moved), expected=tagged)
    except KeyTaken as error:
        raise AliasMoved(name, alias) from error
    return moved


def _read(store: Store, name: str, alias: str) -> tuple[Alias, Tagged] | None:
    try:
        tagged = store.get_tagged(alias_key(name, alias))
    except KeyNotFound:
        return None
    try:
        stored = msgspec.json.decode(tagged.data, type=Alias)
    except msgspec.MsgspecError as error:
        raise InvalidAlias(alias, str(error).rstrip(".")) from error
    if stored.schema_version != SCHEMA_VERSION or not stored.history:
        raise InvalidAlias(alias, "it is of another schema")
    return stored, tagged
