"""The contract between whoever trains a model and whoever serves it. Imports nothing else of this project."""

from artifacts.claim import Change, Draft, Published, publish
from artifacts.errors import ArtifactError
from artifacts.layout import Version
from artifacts.manifest import Manifest
from artifacts.store import Store
from artifacts.verification import Artifact, read_artifact, read_manifest, read_version

__all__ = [
    "Artifact",
    "ArtifactError",
    "Change",
    "Draft",
    "Manifest",
    "Published",
    "Store",
    "Version",
    "publish",
    "read_artifact",
    "read_manifest",
    "read_version",
]
