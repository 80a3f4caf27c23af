"""A list of versions across models: selected, in pages, each with its aliases."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial

from sabia.contract.layout import Version, is_model_name
from sabia.contract.manifest import Manifest
from sabia.registry import aliases, catalogue
from sabia.registry.catalogue import Content, Unreadable
from sabia.registry.errors import InvalidAlias
from sabia.store.objects import Store
from sabia.store.parallel import in_parallel


@dataclass(frozen=True, slots=True)
class Selection:
    """The versions to list.

    Attributes:
        model: the model's name, or a pattern with `*`, `?` and `[…]`.
        alias: only versions that this alias points to.
        newest: only the newest version of each model.
        after: only what follows this model and version in the list, which is sorted by both.
        limit: the greatest number of rows; None lists all.
    """

    model: str = "*"
    alias: str | None = None
    newest: bool = False
    after: tuple[str, Version] | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One version. Its manifest is None where it cannot be read, and `problem` is then the reason."""

    model: str
    version: Version
    aliases: list[str]
    manifest: Manifest | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, and the number of selected versions that follow them."""

    rows: list[Row]
    left: int


def page(store: Store, selection: Selection) -> Page:
    """The selected versions, sorted by model and number. Manifests are read for the rows of the page alone.

    Raises:
        StoreError: the store failed.
    """
    models = {content.name: content for content in catalogue.contents(store, _names(store, selection))}
    pointing = _aliases(store, list(models.values()), selection.alias) if selection.alias is not None else {}
    chosen = [
        (name, version)
        for name, content in models.items()
        for version in (content.versions[-1:] if selection.newest else content.versions)
        if (selection.after is None or (name, version) > selection.after)
        and (selection.alias is None or selection.alias in pointing.get((name, version), []))
    ]
    shown = chosen[: selection.limit]
    pointing = _aliases(store, [models[name] for name in sorted({name for name, _ in shown})])
    found = in_parallel(lambda row: catalogue.attempt(store, *row), shown)
    rows = [
        Row(name, version, pointing.get((name, version), []), None, manifest.reason)
        if isinstance(manifest, Unreadable)
        else Row(name, version, pointing.get((name, version), []), manifest, None)
        for (name, version), manifest in zip(shown, found, strict=True)
    ]
    return Page(rows, len(chosen) - len(shown))


def _names(store: Store, selection: Selection) -> list[str]:
    if is_model_name(selection.model):
        return [selection.model]
    first = selection.after[0] if selection.after else ""
    return [name for name in catalogue.names(store) if name >= first and fnmatchcase(name, selection.model)]


def _aliases(store: Store, models: list[Content], alias: str | None = None) -> dict[tuple[str, Version], list[str]]:
    """The aliases that point to each version; only `alias` where it is given."""
    pairs = [(model.name, name) for model in models for name in model.aliases if alias in (None, name)]
    pointing: dict[tuple[str, Version], list[str]] = {}
    for (model, name), version in zip(pairs, in_parallel(partial(_version, store), pairs), strict=True):
        if version is not None:
            pointing.setdefault((model, version), []).append(name)
    return pointing


def _version(store: Store, pair: tuple[str, str]) -> Version | None:
    # An alias that cannot be read points nowhere; `sabia doctor` lists it.
    try:
        return aliases.history(store, *pair).version
    except InvalidAlias:
        return None
