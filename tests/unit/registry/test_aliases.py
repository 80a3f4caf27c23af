from __future__ import annotations

import pytest

from sabia.contract.layout import Version, alias_key
from sabia.registry import aliases
from sabia.registry.claim import publish
from sabia.registry.errors import AliasMoved, AliasNotFound, InvalidAlias, VersionNotFound
from sabia.store.errors import KeyTaken
from sabia.store.objects import Store, Tagged
from tests.drafts import a_draft

AT = "2026-01-01T00:00:00Z"


@pytest.fixture
def toy(store: Store) -> Store:
    """A store with versions 1.0 and 1.1."""
    for content in "ab":
        publish(store, a_draft(content=content))
    return store


def test_an_alias_points_where_it_was_last_pointed_and_keeps_its_history(toy: Store) -> None:
    aliases.point(toy, "toy", "champion", Version(1, 0), at=AT)
    aliases.point(toy, "toy", "champion", Version(1, 1), at=AT)
    assert aliases.resolve(toy, "toy", "champion") == Version(1, 1)
    assert [move.version for move in aliases.history(toy, "toy", "champion").history] == ["1.0", "1.1"]
    assert aliases.aliases(toy, "toy") == {"champion": Version(1, 1)}


def test_an_alias_cannot_point_to_an_unclaimed_version(toy: Store) -> None:
    with pytest.raises(VersionNotFound):
        aliases.point(toy, "toy", "champion", Version(9, 9), at=AT)


def test_a_retired_alias_points_nowhere_and_can_be_set_again(toy: Store) -> None:
    aliases.point(toy, "toy", "champion", Version(1, 0), at=AT)
    aliases.retire(toy, "toy", "champion", at=AT)
    with pytest.raises(AliasNotFound):
        aliases.resolve(toy, "toy", "champion")
    assert aliases.aliases(toy, "toy") == {}
    aliases.point(toy, "toy", "champion", Version(1, 1), at=AT)
    assert [move.version for move in aliases.history(toy, "toy", "champion").history] == ["1.0", None, "1.1"]


def test_an_alias_that_was_never_set_is_not_found(toy: Store) -> None:
    for call in (aliases.resolve, aliases.history):
        with pytest.raises(AliasNotFound):
            call(toy, "toy", "champion")


class OvertakenStore(Store):
    """A store in which another writer moves the alias between the reading and the writing."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.url, store._backend)  # noqa: SLF001

    def swap(self, key: str, data: bytes, *, expected: Tagged | None) -> None:
        """Swap, a moment too late."""
        aliases.point(Store(self.url, self._backend), "toy", "champion", Version(1, 0), at="2026-01-02T00:00:00Z")
        super().swap(key, data, expected=expected)


@pytest.mark.parametrize("before", [False, True], ids=["first set", "moved"])
def test_a_move_that_was_overtaken_is_refused_and_the_other_stays(toy: Store, before: bool) -> None:
    if before:
        aliases.point(toy, "toy", "champion", Version(1, 0), at=AT)
    with pytest.raises(AliasMoved):
        aliases.point(OvertakenStore(toy), "toy", "champion", Version(1, 1), at=AT)
    assert aliases.resolve(toy, "toy", "champion") == Version(1, 0)


@pytest.mark.parametrize("data", [b"{", b'{"schema_version":2,"alias":"champion","history":[]}', b"[]"])
def test_an_alias_file_of_another_kind_is_refused(toy: Store, data: bytes) -> None:
    toy.create(alias_key("toy", "champion"), data)
    with pytest.raises(InvalidAlias, match="'champion' cannot be read"):
        aliases.resolve(toy, "toy", "champion")


def test_an_alias_key_is_never_created_twice(toy: Store) -> None:
    aliases.point(toy, "toy", "champion", Version(1, 0), at=AT)
    with pytest.raises(KeyTaken):
        toy.swap(alias_key("toy", "champion"), b"{}", expected=None)
