"""From a source to a model: every file is verified before it is used."""

from __future__ import annotations

from pathlib import Path

from sabia.errors import SabiaError
from sabia.registry.verification import Artifact, read_artifact
from sabia.serving.errors import LoadFailed
from sabia.serving.inference.model import Model
from sabia.serving.settings import Settings
from sabia.store.objects import Store


def load(settings: Settings) -> Model:
    """Read, verify and open the version at the configured source.

    Raises:
        LoadFailed: with the one sentence that says why.
    """
    return Model(load_artifact(settings))


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
