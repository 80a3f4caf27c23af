"""From a source to a model: every file is verified before it is used."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from sabia.contract.manifest import REFERENCE_FILE
from sabia.errors import SabiaError
from sabia.registry.claim import Draft, provisional
from sabia.registry.verification import Artifact, read_artifact
from sabia.serving.errors import LoadFailed
from sabia.serving.inference.model import Model, check_reference, is_scalar
from sabia.serving.inference.session import open_session
from sabia.serving.inference.typed import Served, TypedModel
from sabia.serving.settings import Settings
from sabia.store import objects
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
    session = open_session(artifact.model, prepack=manifest.runtime.prepack)
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
    if objects.is_lost():
        return _read_elsewhere(settings)
    try:
        artifact = read_artifact(Store.open(_url(settings.source)))
    except SabiaError as error:
        raise LoadFailed(str(error)) from error
    _check_identity(artifact, settings)
    return artifact


def dump_artifact(settings: Settings, pipe: IO[bytes]) -> None:
    """Read the version, or the sentence that says why not, and write it for `artifact_from`, in another process."""
    try:
        outcome: Artifact | str = load_artifact(settings)
    except LoadFailed as error:
        outcome = str(error).removeprefix("Not serving: ")
    pickle.dump(outcome, pipe)
    pipe.flush()


def artifact_from(data: bytes) -> Artifact:
    """The version that a process of this server has read and sent over a pipe that no other process has.

    Raises:
        LoadFailed: with the one sentence that says why.
    """
    if not data:
        raise LoadFailed("the process that was to read the artifact died.")
    artifact: Artifact | str = pickle.loads(data)  # noqa: S301  of our own child
    if isinstance(artifact, str):
        raise LoadFailed(artifact)
    artifact.remove_with_the_artifact()  # it was read by a process that has ended
    return artifact


def _read_elsewhere(settings: Settings) -> Artifact:
    """The artifact, read by a new interpreter: the store's library cannot be used in this process."""
    code = (
        "import os, pickle, sys; pipe = os.fdopen(os.dup(1), 'wb'); os.dup2(2, 1); "
        "from sabia.serving.inference import loading; "
        "loading.dump_artifact(pickle.load(sys.stdin.buffer), pipe); os._exit(0)"
    )
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    command = [sys.executable, "-P", "-c", code]
    ended = subprocess.run(  # noqa: S603  this interpreter, and the code above
        command, input=pickle.dumps(settings), stdout=subprocess.PIPE, env=variables, check=False
    )
    return artifact_from(ended.stdout)


def _url(source: str) -> str:
    return source if "://" in source else Path(source).resolve().as_uri()


def _check_identity(artifact: Artifact, settings: Settings) -> None:
    manifest = artifact.manifest
    if settings.model_name not in (None, manifest.name):
        raise LoadFailed(f"model {settings.model_name!r} is set, the artifact is {manifest.name!r}.")
    if settings.model_version not in (None, manifest.version):
        raise LoadFailed(f"version {settings.model_version!r} is set, the artifact is {manifest.version!r}.")
