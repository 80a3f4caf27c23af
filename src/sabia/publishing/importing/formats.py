"""The ONNX file in what is given: a file, or the directory of an MLflow model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sabia.publishing.importing.errors import CodeRefused, UnreadableModel

MLMODEL = "MLmodel"
_REMEDY = "load it where you trust it and pass the estimator to sabia.publish"


def onnx_file(given: Path) -> Path:
    """The ONNX file of a model.

    Raises:
        UnreadableModel: it is of another format, or a directory without a model that can be read.
        CodeRefused: an MLflow model that only code can load.
    """
    if given.is_dir():
        return _mlflow(given)
    return given


def _mlflow(folder: Path) -> Path:
    if not (folder / MLMODEL).is_file():
        raise UnreadableModel(folder.name, f"is a directory without {MLMODEL}; give an ONNX file or an MLflow model")
    try:
        document: Any = yaml.safe_load((folder / MLMODEL).read_text())
        flavors = dict(document["flavors"])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise UnreadableModel(f"{folder.name}/{MLMODEL}", "is not the description of an MLflow model") from error
    if "onnx" not in flavors:
        named = ", ".join(sorted(map(str, flavors)))
        raise CodeRefused(folder.name, f"an MLflow model of the flavor {named}", _REMEDY)
    data = flavors["onnx"].get("data") if isinstance(flavors["onnx"], dict) else None
    file = (folder / str(data)).resolve()
    if data is None or not file.is_relative_to(folder.resolve()):
        raise UnreadableModel(f"{folder.name}/{MLMODEL}", "names no ONNX file inside the directory")
    if file.is_dir():  # with external weights, MLflow names the directory that holds both
        file /= "model.onnx"
    if not file.is_file():
        raise UnreadableModel(folder.name, f"has no file {data}, which its {MLMODEL} names")
    return file
