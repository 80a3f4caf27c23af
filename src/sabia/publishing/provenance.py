"""The provenance of a version: data, code, libraries."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import onnx

from sabia.contract.manifest import Dataset, Git, Provenance
from sabia.publishing.conversion import OPSET

LIBRARIES = ("numpy", "onnx", "onnxruntime", "scikit-learn", "skl2onnx")
# Named where they trained the model.
BOOSTERS = ("catboost", "lightgbm", "xgboost")


def provenance(
    dataset: Dataset | None, model: bytes | onnx.ModelProto | None = None, estimator: Sequence[str] = ()
) -> Provenance:
    """The provenance of a version trained on these rows, by the code and the libraries of this process.

    `estimator` are the classes of what was trained; the opsets are those of the ONNX `model`, if it is given.
    """
    packages = {name.partition(".")[0] for name in estimator}
    opset = OPSET
    if model is not None:
        proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else model
        opset = {each.domain: each.version for each in proto.opset_import}
    return Provenance(
        dataset=dataset,
        git=git(),
        python=platform.python_version(),
        libraries={name: metadata.version(name) for name in (*LIBRARIES, *(packages & {*BOOSTERS}))},
        opset={domain or "ai.onnx": number for domain, number in opset.items()},
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
