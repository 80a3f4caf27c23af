"""The provenance of a version: data, code, libraries."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from sabia.contract.manifest import Dataset, Git, Provenance
from sabia.publishing.conversion import OPSET

LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx")


def provenance(dataset: Dataset) -> Provenance:
    """The provenance of a version trained on these rows, by the code and the libraries of this process."""
    return Provenance(
        dataset=dataset,
        git=git(),
        python=platform.python_version(),
        libraries={name: metadata.version(name) for name in LIBRARIES},
        opset={domain or "ai.onnx": number for domain, number in OPSET.items()},
    )


def git() -> Git | None:
    """The commit of this code: from `SABIA_GIT_COMMIT` (an image has no .git), else from git; None when unknown."""
    named = os.environ.get("SABIA_GIT_COMMIT")
    if named:
        return Git(commit=named, dirty=False)
    try:
        return Git(commit=_git("rev-parse", "HEAD"), dirty=bool(_git("status", "--porcelain")))
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    done = subprocess.run(["git", *arguments], cwd=here, check=True, capture_output=True, text=True, timeout=30)  # noqa: S603, S607
    return done.stdout.strip()
