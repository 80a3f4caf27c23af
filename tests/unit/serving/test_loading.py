from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from sabia.contract.layout import Version, version_prefix
from sabia.contract.manifest import File, content_digest, decode, encode, sha256
from sabia.registry.verification import Artifact
from sabia.serving.errors import LoadFailed
from sabia.serving.inference.loading import load
from sabia.serving.inference.model import Model
from sabia.serving.settings import Settings
from sabia.store.objects import Store
from tests.conftest import MODEL


def model_file(folder: Path) -> Path:
    """The path of model.onnx in a version's folder."""
    return next(folder.glob("*/model.onnx"))


def flip_a_bit(folder: Path) -> None:
    """Change one bit in the middle of model.onnx."""
    data = bytearray(model_file(folder).read_bytes())
    data[len(data) // 2] ^= 1
    model_file(folder).write_bytes(data)


SPOILS: dict[str, tuple[Callable[[Path], object], str]] = {
    "wrong bytes": (lambda folder: model_file(folder).write_bytes(b"x" * model_file(folder).stat().st_size), "sha256"),
    "flipped bit": (flip_a_bit, "model.onnx has sha256"),
    "truncated": (
        lambda folder: model_file(folder).write_bytes(model_file(folder).read_bytes()[:100]),
        "has 100 bytes",
    ),
    "missing file": (lambda folder: model_file(folder).unlink(), "model.onnx is named by the manifest and is missing"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "no manifest.json"),
    "broken manifest": (lambda folder: (folder / "manifest.json").write_text("{"), "not JSON"),
    "later manifest": (
        lambda folder: (folder / "manifest.json").write_text('{"schema_version": 9}'),
        "schema_version 9",
    ),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_what_was_not_published_is_never_loaded(folder: Path, spoil: str) -> None:
    change, reason = SPOILS[spoil]
    change(folder)
    with pytest.raises(LoadFailed, match=reason):
        load(replace(Settings(), source=str(folder)))


@pytest.mark.parametrize("spoil", SPOILS)
def test_the_server_logs_why_in_one_line_and_ends(folder: Path, spoil: str) -> None:
    change, reason = SPOILS[spoil]
    change(folder)
    options = ["--source", str(folder), "--http_port", "0", "--host", "127.0.0.1"]
    command = [sys.executable, "-P", "-m", "sabia", "serve", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Not serving: ")
    assert reason in line
    assert str(folder) not in line


def test_a_version_is_loaded_from_a_folder_and_from_a_store(folder: Path, published: Store) -> None:
    url = published.uri(version_prefix(MODEL, Version(2, 0)))
    assert (
        load(replace(Settings(), source=str(folder))).version == load(replace(Settings(), source=url)).version == "2.0"
    )


@pytest.mark.parametrize(("asked", "named"), [({"model_name": "iris"}, "iris"), ({"model_version": "1.2"}, "1.2")])
def test_another_model_or_version_than_asked_for_is_refused(folder: Path, asked: dict[str, str], named: str) -> None:
    with pytest.raises(LoadFailed, match=named):
        load(Settings(source=str(folder), **asked))  # type: ignore[arg-type]  # the names above are text settings


def changed(artifact: Artifact, **files: bytes) -> Artifact:
    """A version whose files are other than those of a good one, and whose digests are right all the same."""
    contents = artifact.files | {name.replace("_", "."): data for name, data in files.items()}
    digest = content_digest(contents)
    entries = [
        File(path=f"{digest}/{entry.name}", size=len(contents[entry.name]), sha256=sha256(contents[entry.name]))
        for entry in artifact.manifest.files
    ]
    return Artifact(msgspec.structs.replace(artifact.manifest, files=entries), contents)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"model_onnx": b"not an onnx model"}, "ONNX Runtime"),
        ({"reference_json": b"{}"}, "reference.json"),
        ({"state_json": b"[]"}, "state.json"),
        ({"state_json": b'{"params": {"coefficients": [1]}}'}, "state.json"),
    ],
)
def test_a_version_with_right_digests_and_wrong_content_is_refused(
    logistic: Artifact, files: dict[str, bytes], reason: str
) -> None:
    with pytest.raises(LoadFailed, match=reason):
        Model(changed(logistic, **files))


def test_a_model_of_another_width_than_its_manifest_is_refused(logistic: Artifact) -> None:
    narrow = msgspec.structs.replace(logistic.manifest, inputs=logistic.manifest.inputs[:29])
    with pytest.raises(LoadFailed, match="29"):
        Model(Artifact(narrow, logistic.files))


def test_the_manifest_can_be_read_back_after_a_change(logistic: Artifact) -> None:
    """The helper above makes manifests that are valid in themselves."""
    manifest = changed(logistic, state_json=b"{}").manifest
    assert decode(encode(manifest)) == manifest
