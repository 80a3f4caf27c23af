"""From a source to a decision: everything is verified before anything is made of it."""

from __future__ import annotations

from pathlib import Path

from sabia.registry.verification import Artifact, read_artifact
from sabia.serving.errors import LoadFailed
from sabia.serving.inference.decision import Decision
from sabia.serving.settings import Config
from sabia.store.errors import ArtifactError
from sabia.store.objects import Store


def load(config: Config) -> Decision:
    """Read, verify and open the version at the configured source.

    Raises:
        LoadFailed: with the one sentence that says why.
    """
    return Decision(read(config))


def read(config: Config) -> Artifact:
    """Read and verify the version at the configured source.

    Raises:
        LoadFailed: with the one sentence that says why.
    """
    try:
        artifact = read_artifact(Store.open(_url(config.source)))
    except ArtifactError as error:
        raise LoadFailed(str(error)) from error
    _check_identity(artifact, config)
    return artifact


def _url(source: str) -> str:
    return source if "://" in source else Path(source).resolve().as_uri()


def _check_identity(artifact: Artifact, config: Config) -> None:
    manifest = artifact.manifest
    if config.model_name not in (None, manifest.name):
        raise LoadFailed(f"asked for model {config.model_name!r}, the artifact is {manifest.name!r}.")
    if config.model_version not in (None, manifest.version):
        raise LoadFailed(f"asked for version {config.model_version!r}, the artifact is {manifest.version!r}.")
