from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.contract.layout import Version
from sabia.contract.manifest import encode
from sabia.registry.errors import IntegrityError, MissingFile, MissingManifest, WrongDigest, WrongSize
from sabia.registry.verification import Artifact, read_artifact, read_version, verify
from sabia.store.objects import Store


def a_copy(artifact: Artifact, **changed: bytes | None) -> Store:
    """A store that holds one version at its root, some files changed or (None) left out."""
    store = Store.open("memory://")
    for entry in artifact.manifest.files:
        data = changed.get(entry.name.partition(".")[0], artifact.files[entry.name])
        if data is not None:
            store.create(entry.path, data)
    store.create("manifest.json", encode(artifact.manifest))
    return store


def test_a_version_is_read_whole(published: Store, linear: Artifact) -> None:
    assert read_version(published, "breast-cancer", Version(1, 2)) == linear
    assert set(linear.files) == {"model.onnx", "state.json", "reference.json", "CARD.md"}


def test_a_version_is_read_from_its_own_folder(linear: Artifact) -> None:
    assert read_artifact(a_copy(linear)) == linear


@given(data=st.data())
def test_any_flipped_bit_of_any_file_is_noticed(logistic: Artifact, data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(logistic.manifest.files))
    spoilt = bytearray(logistic.files[entry.name])
    at = data.draw(st.integers(0, len(spoilt) - 1))
    spoilt[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(WrongDigest, match=entry.name):
        verify(entry, bytes(spoilt))


def test_a_flipped_bit_stops_the_reading(logistic: Artifact) -> None:
    spoilt = bytearray(logistic.files["model.onnx"])
    spoilt[len(spoilt) // 2] ^= 1
    with pytest.raises(WrongDigest, match=r"model\.onnx has sha256"):
        read_artifact(a_copy(logistic, model=bytes(spoilt)))


def test_a_truncated_file_is_noticed_by_its_size(logistic: Artifact) -> None:
    with pytest.raises(WrongSize, match="has 10 bytes"):
        read_artifact(a_copy(logistic, state=logistic.files["state.json"][:10]))


def test_a_missing_file_is_named(logistic: Artifact) -> None:
    with pytest.raises(MissingFile, match=r"reference\.json"):
        read_artifact(a_copy(logistic, reference=None))


def test_files_without_a_manifest_are_not_a_version(store: Store) -> None:
    store.create("0.onnx", b"left by another writer")
    with pytest.raises(MissingManifest):
        read_artifact(store)


def test_files_that_the_manifest_does_not_name_are_never_read(linear: Artifact) -> None:
    store = a_copy(linear)
    store.create(f"{linear.manifest.digest}/extra.bin", b"who put this here")
    assert set(read_artifact(store).files) == set(linear.files)


def test_every_integrity_error_is_one_kind(linear: Artifact) -> None:
    with pytest.raises(IntegrityError):
        read_artifact(a_copy(linear, model=b"x"))
