from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.contract.layout import Version, version_prefix
from sabia.registry.catalogue import manifests_of, unclaimed, versions
from sabia.registry.claim import Change, publish
from sabia.registry.verification import read_version
from sabia.store.errors import KeyTaken, StoreUnavailable
from sabia.store.objects import LARGE_BYTES, Store
from tests.drafts import a_draft, contents

drafts = st.builds(a_draft, st.sampled_from(["linear", "logistic", "trees"]), st.sampled_from(list("abcdef")))


def test_the_first_version_is_1_0(store: Store) -> None:
    assert publish(store, a_draft()).manifest.version == "1.0"


def test_new_state_raises_minor_and_new_methods_raise_major(store: Store) -> None:
    published = [
        publish(store, a_draft(methods, content))
        for methods, content in map(tuple, ["La", "Lb", "Lc", "Ga", "Gb", "Ld"])
    ]
    assert [item.manifest.version for item in published] == ["1.0", "1.1", "1.2", "2.0", "2.1", "3.0"]
    assert [item.manifest.parent for item in published] == [None, "1.0", "1.1", "1.2", "2.0", "2.1"]


def test_the_same_content_is_the_version_that_holds_it_and_nothing_is_written(store: Store) -> None:
    first = publish(store, a_draft("L", "a"))
    publish(store, a_draft("G", "b"))
    before = list(store.list("models/"))
    again = publish(store, a_draft("L", "a", created_at="2030-01-01T00:00:00Z"))
    assert (again.manifest, again.change) == (first.manifest, Change.NOTHING)
    assert list(store.list("models/")) == before


def test_another_wording_of_the_card_does_not_make_a_version(store: Store) -> None:
    draft = a_draft()
    publish(store, draft)
    reworded = replace(draft, files=contents(draft) | {"CARD.md": b"# better words\n"})
    assert publish(store, reworded).change is Change.NOTHING


def test_a_file_given_by_its_path_is_the_content_that_its_bytes_are(store: Store, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(contents(a_draft())["model.onnx"])
    by_path = replace(a_draft(), files=contents(a_draft()) | {"model.onnx": tmp_path / "model"})
    first = publish(store, by_path)
    assert read_version(store, "toy", first.manifest.number).files == contents(a_draft())
    assert publish(store, a_draft()).change is Change.NOTHING


def test_a_large_file_is_published_and_read_back(store: Store, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(range(256)) * (LARGE_BYTES // 256 + 1))
    draft = replace(a_draft(), files=contents(a_draft()) | {"model.onnx.data": weights})
    manifest = publish(store, draft).manifest
    artifact = read_version(store, "toy", manifest.number)
    assert artifact.folder is not None
    assert (artifact.folder / "model.onnx.data").read_bytes() == weights.read_bytes()
    assert publish(store, draft).change is Change.NOTHING


@given(st.lists(drafts, min_size=1, max_size=12))
def test_the_version_rule_holds_for_every_history(history: list[object]) -> None:
    """One set of methods for each MAJOR, no gaps, one number for each content, and every version readable."""
    store = Store.open("memory://")
    for draft in history:
        publish(store, draft)  # type: ignore[arg-type]  # hypothesis loses the type of builds()
    found = manifests_of(store, "toy")
    by_major: dict[int, list[int]] = {}
    for manifest in found:
        by_major.setdefault(manifest.number.major, []).append(manifest.number.minor)
    assert list(by_major) == list(range(1, len(by_major) + 1))
    assert all(minors == list(range(len(minors))) for minors in by_major.values())
    methods = {(manifest.number.major, manifest.methods.fingerprint) for manifest in found}
    assert len(methods) == len(by_major)
    assert len({manifest.digest for manifest in found}) == len(found)
    for manifest in found:
        read_version(store, "toy", manifest.number)


def test_a_publisher_that_died_before_its_manifest_has_claimed_nothing(store: Store) -> None:
    draft = a_draft()
    left = f"{version_prefix('toy', Version(1, 0))}{draft.digest}/model.onnx"
    store.create(left, contents(draft)["model.onnx"])
    assert versions(store, "toy") == []
    assert unclaimed(store, "toy") == [left]
    assert publish(store, draft).manifest.version == "1.0"
    assert unclaimed(store, "toy") == []


def test_what_a_dead_publisher_left_under_a_number_does_not_block_other_content(store: Store) -> None:
    dead = a_draft("L", "dead")
    left = f"{version_prefix('toy', Version(1, 0))}{dead.digest}/model.onnx"
    store.create(left, contents(dead)["model.onnx"])
    assert publish(store, a_draft("L", "alive")).manifest.version == "1.0"
    assert unclaimed(store, "toy") == [left]


def test_bytes_written_by_hand_where_a_file_belongs_are_never_claimed(store: Store) -> None:
    draft = a_draft()
    store.create(f"{version_prefix('toy', Version(1, 0))}{draft.digest}/model.onnx", b"something else")
    with pytest.raises(KeyTaken, match=r"model\.onnx"):
        publish(store, draft)
    assert versions(store, "toy") == []


class FailingStore(Store):
    """A store that fails at its n-th create and then for good: a publisher that dies there."""

    def __init__(self, store: Store, creates: int) -> None:
        super().__init__(store.url, store._backend)  # noqa: SLF001
        self._left = creates

    def create(self, key: str, data: bytes) -> bool:
        """Create, until there is no life left."""
        if self._left == 0:
            raise StoreUnavailable(key)
        self._left -= 1
        return super().create(key, data)


@pytest.mark.parametrize("creates", range(5))
def test_dying_at_any_write_leaves_either_no_version_or_a_whole_one(store: Store, creates: int) -> None:
    with pytest.raises(StoreUnavailable):
        publish(FailingStore(store, creates), a_draft())
    assert versions(store, "toy") == []
    assert publish(store, a_draft()).manifest.version == "1.0"
    read_version(store, "toy", Version(1, 0))
