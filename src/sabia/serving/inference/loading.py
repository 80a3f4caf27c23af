"""From a source to a model: every file is verified before it is used."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sabia.contract.manifest import REFERENCE_FILE
from sabia.errors import SabiaError
from sabia.registry.claim import Draft, provisional
from sabia.registry.verification import Artifact, read_artifact
from sabia.serving.errors import LoadFailed
from sabia.serving.inference.model import Model, check_reference, is_scalar
from sabia.serving.inference.session import open_session
from sabia.serving.inference.typed import Served, TypedModel
from sabia.serving.settings import Settings
from sabia.store.objects import Store


def load(settings: Settings) -> Served:
    """Read, verify and open the version at the configured source.

    Raises:
        LoadFailed: with the one sentence that says why.
    """
    return open_model(load_artifact(settings))


def open_model(artifact: Artifact) -> Served:
    """Open a verified version: as a `Model` where its signature is scalar and its graph has the names for that.

    Raises:
        LoadFailed: with the one sentence that says why.
    """
    manifest = artifact.manifest
    if manifest.runtime.kind != "onnx":
        raise LoadFailed(f"{manifest.name} {manifest.version} is code; its own image serves it.")
    session = open_session(artifact.model)
    if is_scalar(manifest.signature, session):
        return Model(artifact, session)
    check_reference(artifact.files[REFERENCE_FILE])
    return TypedModel(artifact, session)


def check_draft(draft: Draft) -> None:
    """Check, before a version has a number, that it can be served: open it as a server does.

    Raises:
        LoadFailed: with the one sentence that says why.
    """
    if draft.runtime.kind != "onnx":
        return
    small = {name: data for name, data in draft.files.items() if isinstance(data, bytes)}
    if len(small) == len(draft.files):
        open_model(Artifact(provisional(draft), small))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, data in draft.files.items():
            _place(data, Path(folder, name))
        open_model(Artifact(provisional(draft), small, Path(folder)))


def _place(data: bytes | Path, target: Path) -> None:
    """Let a file be in this place: without a copy where the file system can."""
    if isinstance(data, bytes):
        target.write_bytes(data)
        return
    try:
        target.hardlink_to(data.resolve())
    except OSError:
        shutil.copyfile(data, target)


def load_artifact(settings: Settings) -> Artifact:
    """Read and verify the version at the configured source.

    Raises:
        LoadFailed: with the one sentence that says why.
    """
    try:
        artifact = read_artifact(Store.open(_url(settings.source)))
    except SabiaError as error:
        raise LoadFailed(str(error)) from error
    _check_identity(artifact, settings)
    return artifact


def _url(source: str) -> str:
    return source if "://" in source else Path(source).resolve().as_uri()


def _check_identity(artifact: Artifact, settings: Settings) -> None:
    manifest = artifact.manifest
    if settings.model_name not in (None, manifest.name):
        raise LoadFailed(f"model {settings.model_name!r} is set, the artifact is {manifest.name!r}.")
    if settings.model_version not in (None, manifest.version):
        raise LoadFailed(f"version {settings.model_version!r} is set, the artifact is {manifest.version!r}.")
