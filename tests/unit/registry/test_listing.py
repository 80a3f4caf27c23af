"""Lists of versions: what they select, what unreadable versions do to them, and how long a large store takes."""

from __future__ import annotations

import builtins
import threading
from collections.abc import Iterator

import msgspec
import pytest

from sabia.contract import manifest as manifests
from sabia.contract.layout import Version, alias_key, manifest_key
from sabia.registry import aliases, catalogue
from sabia.registry.claim import Change, publish
from sabia.registry.listing import Page, Selection, page
from sabia.store.errors import StoreUnavailable
from sabia.store.objects import Entry, Store, Tagged
from tests.drafts import a_draft

AT = "2026-01-01T00:00:00Z"
REQUEST_SECONDS, PARALLEL = 0.020, 64


@pytest.fixture
def three(store: Store) -> Store:
    """A store with three models of two versions each; 1.1 of "b" cannot be read."""
    for name in "abc":
        publish(store, a_draft(content="x", name=name))
        store.create(manifest_key(name, Version(1, 1)), b"{") if name == "b" else publish(
            store, a_draft(content="y", name=name)
        )
    return store


def listed(found: Page) -> list[str]:
    """The rows as MODEL/VERSION."""
    return [f"{row.model}/{row.version}" for row in found.rows]


def test_an_unreadable_version_is_a_row_with_the_reason(three: Store) -> None:
    found = page(three, Selection())
    assert listed(found) == ["a/1.0", "a/1.1", "b/1.0", "b/1.1", "c/1.0", "c/1.1"]
    assert [row.problem for row in found.rows if row.manifest is None] == [
        "manifest.json is not valid: it is not JSON."
    ]


def test_versions_are_selected_by_pattern_alias_and_age(three: Store) -> None:
    aliases.point(three, "c", "champion", Version(1, 0), at=AT)
    assert listed(page(three, Selection(model="[ab]"))) == ["a/1.0", "a/1.1", "b/1.0", "b/1.1"]
    assert listed(page(three, Selection(newest=True))) == ["a/1.1", "b/1.1", "c/1.1"]
    champions = page(three, Selection(alias="champion"))
    assert (listed(champions), champions.rows[0].aliases) == (["c/1.0"], ["champion"])
    assert listed(page(three, Selection(model="nothing"))) == []


@pytest.mark.parametrize("limit", [1, 2, 4, 100])
def test_the_pages_of_a_list_are_the_list(three: Store, limit: int) -> None:
    pages: list[Page] = []
    after = None
    while not pages or pages[-1].left:
        pages.append(page(three, Selection(after=after, limit=limit)))
        after = (pages[-1].rows[-1].model, pages[-1].rows[-1].version)
    assert [row for each in pages for row in each.rows] == page(three, Selection()).rows


def test_what_is_stored_beside_models_is_passed_over(three: Store) -> None:
    three.create("models/Not A Model/1.0/manifest.json", b"{}")
    three.create("models/a/latest/manifest.json", b"{}")
    three.create("models/a/aliases/README.json", b"{}")
    three.create(alias_key("a", "champion"), b"{}")
    assert catalogue.models(three) == ["a", "b", "c"]
    assert [row.aliases for row in page(three, Selection(model="a")).rows] == [[], []]


def test_a_model_with_an_unreadable_version_can_be_published(three: Store) -> None:
    """Its number is not given again, and the readable versions of its MAJOR say what the methods are."""
    new_state = publish(three, a_draft(content="z", name="b"))
    assert (new_state.manifest.version, new_state.change) == ("1.2", Change.STATE)
    assert publish(three, a_draft("other", name="b")).manifest.version == "2.0"
    assert publish(three, a_draft(content="x", name="b")).change is Change.NOTHING


def test_the_newest_manifest_is_of_the_newest_version_that_can_be_read(three: Store) -> None:
    found = [catalogue.newest(three, name) for name in ("a", "b", "nothing")]
    assert [manifest and manifest.version for manifest in found] == ["1.1", "1.0", None]


def test_methods_that_cannot_be_read_are_other_methods(store: Store) -> None:
    store.create(manifest_key("toy", Version(1, 0)), b"{")
    first = publish(store, a_draft())
    assert (first.manifest.version, first.manifest.parent, first.change) == ("2.0", None, Change.METHODS)
    store.create(manifest_key("toy", Version(3, 0)), b"{")
    second = publish(store, a_draft(content="b"))
    assert (second.manifest.version, second.manifest.parent) == ("4.0", "2.0")


def test_the_files_of_an_unreadable_version_are_not_called_unclaimed(three: Store) -> None:
    three.create("models/b/1.1/abc/model.onnx", b"whose it is cannot be known")
    three.create("models/b/1.7/abc/model.onnx", b"left by a publisher that died")
    assert catalogue.unclaimed(three, "b") == ["models/b/1.7/abc/model.onnx"]


def test_a_store_that_fails_ends_the_list(three: Store) -> None:
    class Failing(Store):
        def get_tagged(self, key: str, *, limit: int | None = None) -> Tagged:  # noqa: ARG002
            raise StoreUnavailable(key)

    with pytest.raises(StoreUnavailable):
        page(Failing(three.url, three._backend), Selection())  # noqa: SLF001


class DistantStore(Store):
    """A store that responds to the first requests of a kind only once `PARALLEL` of them are under way."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.url, store._backend)  # noqa: SLF001
        self.requests = 0
        self._lock = threading.Lock()
        self._met = {kind: threading.Barrier(PARALLEL) for kind in ("get", "list")}
        self._left = dict.fromkeys(self._met, PARALLEL)

    def get_tagged(self, key: str, *, limit: int | None = None) -> Tagged:
        """See `Store.get_tagged`."""
        self._wait("get")
        return super().get_tagged(key, limit=limit)

    def list(self, prefix: str) -> Iterator[Entry]:
        """See `Store.list`."""
        self._wait("list")
        return super().list(prefix)

    def folders(self, prefix: str) -> builtins.list[str]:
        """See `Store.folders`."""
        self.requests += 1
        return super().folders(prefix)

    def _wait(self, kind: str) -> None:
        with self._lock:
            self.requests += 1
            first = self._left[kind] > 0
            self._left[kind] -= 1
        if first:
            self._met[kind].wait(timeout=60)


def test_ten_versions_of_a_thousand_models_are_listed_in_five_seconds_at_20_ms_a_request(store: Store) -> None:
    """By the number of requests and how many are under way at a time, which no load on this machine changes."""
    manifest = publish(store, a_draft(name="template")).manifest
    for name in (f"model-{number}" for number in range(1000)):
        for version in (Version(1, minor) for minor in range(10)):
            claimed = msgspec.structs.replace(manifest, name=name, version=str(version))
            store.create(manifest_key(name, version), manifests.encode(claimed))
    distant = DistantStore(store)
    found = page(distant, Selection(model="model-*"))
    assert distant.requests * REQUEST_SECONDS / PARALLEL < 5
    assert (len(found.rows), found.left) == (10_000, 0)
    assert all(row.manifest is not None for row in found.rows)
