from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.contract.errors import InvalidManifest
from sabia.contract.layout import Version, manifest_key, version_prefix
from sabia.contract.manifest import File, content_digest, encode
from sabia.registry.catalogue import manifest_of
from sabia.registry.claim import publish
from sabia.registry.errors import (
    IntegrityError,
    MissingFile,
    MissingManifest,
    VersionNotFound,
    WrongDigest,
    WrongSize,
)
from sabia.registry.verification import Artifact, check_version, read_artifact, read_version, verify
from sabia.store.objects import LARGE_BYTES, Store
from tests.drafts import a_draft, contents


def a_copy(artifact: Artifact, url: str | None = None, **changed: bytes | None) -> Store:
    """A store that holds one version at its root, some files changed or (None) left out."""
    store = Store.open(url or "memory://", make=True)
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


@pytest.fixture
def large(linear: Artifact) -> Artifact:
    """A version with a file that is read in pieces."""
    files = linear.files | {"model.onnx.data": bytes(LARGE_BYTES + 1)}
    return Artifact(msgspec.structs.replace(linear.manifest, files=entries(files)), files)


def entries(files: dict[str, bytes]) -> list[File]:
    """The entries that a manifest has of these files."""
    folder = content_digest(files)
    return [
        File(path=f"{folder}/{name}", size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in files.items()
    ]


@pytest.mark.parametrize("name", ["model.onnx", "state.json", "reference.json"])
def test_a_file_and_its_entry_changed_together_under_the_old_digest_are_not_that_content(
    linear: Artifact, name: str
) -> None:
    files = linear.files | {name: linear.files[name] + b" "}
    swapped = [
        msgspec.structs.replace(entry, path=f"{linear.manifest.digest}/{entry.name}") for entry in entries(files)
    ]
    forged = Artifact(msgspec.structs.replace(linear.manifest, files=swapped), files)
    with pytest.raises(InvalidManifest, match="not those of its content digest"):
        read_artifact(a_copy(forged))


@pytest.mark.parametrize("key", ["models/toy/1.1/", "models/toy/9.0/", "models/other/1.0/"])
def test_a_version_copied_to_another_number_or_model_is_not_that_version(store: Store, key: str) -> None:
    manifest = publish(store, a_draft()).manifest
    for entry in list(store.list(version_prefix("toy", manifest.number))):
        store.create(key + entry.key.removeprefix(version_prefix("toy", manifest.number)), store.get(entry.key))
    _, model, number, _ = key.split("/")
    for read in (read_version, check_version, manifest_of):
        with pytest.raises(InvalidManifest, match=r"that of version 1\.0 of 'toy'"):
            read(store, model, Version.parse(number))


def test_a_file_that_is_larger_than_its_manifest_says_is_not_read(linear: Artifact, tmp_path: Path) -> None:
    """The file is as large as no memory is; on disk it has no blocks."""
    store = a_copy(linear, tmp_path.as_uri(), state=None)
    huge = tmp_path / linear.manifest.file("state.json").path
    with huge.open("wb") as file:
        file.truncate(200 * 2**30)
    with pytest.raises(WrongSize, match=f"state.json has {200 * 2**30} bytes"):
        read_artifact(store)


def test_a_large_file_is_read_no_further_than_its_manifest_says(large: Artifact, tmp_path: Path) -> None:
    store = a_copy(large, tmp_path.as_uri())
    with (tmp_path / large.manifest.file("model.onnx.data").path).open("r+b") as file:
        file.truncate(200 * 2**30)
    with pytest.raises(WrongSize, match=r"model\.onnx\.data has more bytes"):
        read_artifact(store)


def test_a_manifest_without_end_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(200 * 2**30)
    with pytest.raises(InvalidManifest, match="more than any manifest"):
        read_artifact(Store.open(tmp_path.as_uri()))


@pytest.fixture(params=["elsewhere", "on this machine"])
def with_large(request: pytest.FixtureRequest, large: Artifact, tmp_path: Path) -> Store:
    """A store that holds it at its root."""
    return a_copy(large, None if request.param == "elsewhere" else tmp_path.as_uri())


def test_a_large_file_stays_on_disk_beside_the_others(with_large: Store, large: Artifact) -> None:
    artifact = read_artifact(with_large)
    assert artifact.folder is not None
    assert {path.name: path.read_bytes() for path in artifact.folder.iterdir()} == large.files
    assert artifact.files == {name: data for name, data in large.files.items() if name != "model.onnx.data"}
    assert artifact.model == artifact.folder / "model.onnx"


def test_a_folder_made_for_a_large_file_goes_with_the_artifact(with_large: Store, tmp_path: Path) -> None:
    artifact = read_artifact(with_large)
    folder = artifact.folder
    assert folder is not None
    assert artifact.is_temporary is not folder.is_relative_to(tmp_path)
    del artifact
    assert folder.exists() is folder.is_relative_to(tmp_path)


def test_a_flipped_bit_of_a_large_file_is_noticed(large: Artifact, tmp_path: Path) -> None:
    spoilt = Artifact(large.manifest, large.files | {"model.onnx.data": bytes(LARGE_BYTES) + b"1"})
    for store in (a_copy(spoilt), a_copy(spoilt, tmp_path.as_uri())):
        with pytest.raises(WrongDigest, match=r"model\.onnx\.data has sha256"):
            read_artifact(store)


def test_a_missing_file_beside_a_large_one_is_named(large: Artifact, tmp_path: Path) -> None:
    for url in (None, tmp_path.as_uri()):
        with pytest.raises(MissingFile, match=r"state\.json"):
            read_artifact(a_copy(large, url, state=None))


def test_a_version_is_checked_as_it_is_read(store: Store) -> None:
    manifest = publish(store, a_draft()).manifest
    check_version(store, "toy", manifest.number)
    with pytest.raises(VersionNotFound):
        check_version(store, "toy", Version(9, 9))
    spoilt = replace(a_draft(), files=contents(a_draft()) | {"state.json": b"[]"})
    other = Store.open("memory://")
    other.create(manifest_key("toy", manifest.number), encode(manifest))
    for entry in manifest.files:
        other.create(version_prefix("toy", manifest.number) + entry.path, contents(spoilt)[entry.name])
    with pytest.raises(WrongDigest, match=r"state\.json"):
        check_version(other, "toy", manifest.number)


def test_every_integrity_error_is_one_kind(linear: Artifact) -> None:
    with pytest.raises(IntegrityError):
        read_artifact(a_copy(linear, model=b"x"))
