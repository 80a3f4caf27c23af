"""MLflow model directories: the flavor that is read, which of them are data, and the columns that the model names."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sabia.publishing.importing import native
from sabia.publishing.importing.errors import (
    CodeRefused,
    MissingModule,
    RowsRefused,
    UnreadableModel,
    UnsupportedModel,
    reason_of,
)

MLMODEL = "MLmodel"
_PYFUNC = "python_function"
# The description of a model; its weights are files of their own.
_MOST_BYTES = 16 * 2**20
# Flavors whose file this project reads, the first of them where there are several, and the entry that names the file.
_ENTRIES = {"onnx": "data", "xgboost": "data", "lightgbm": "data", "catboost": "data", "sklearn": "pickled_model"}
_PICKLES = (".pkl", ".pickle", ".joblib", ".cloudpickle")


@dataclass(frozen=True, slots=True)
class Column:
    """An input column of an MLflow signature: its name, and its type as MLflow calls it."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Directory:
    """An MLflow model.

    Attributes:
        name: of the directory, for messages.
        onnx: its ONNX file; None for a model of another flavor.
        inputs: the columns of its signature; empty without one, or where it is of tensors.
        outputs: their names, where it has any.
    """

    name: str
    onnx: Path | None
    inputs: list[Column]
    outputs: list[str]
    _load: Callable[[bool], Any]

    def load(self, *, run_code: bool) -> Any:
        """The estimator of another flavor than ONNX.

        Raises:
            CodeRefused: it is not data, and `run_code` is false.
            UnreadableModel, MissingLibrary, MissingModule, UnsupportedModel: it cannot be loaded.
        """
        return self._load(run_code)


def is_directory(given: Path) -> bool:
    """Whether a path is a directory, or the file that describes an MLflow model."""
    return given.is_dir() or given.name == MLMODEL


def read(given: Path) -> Directory:
    """The MLflow model in a directory.

    Raises:
        UnreadableModel: it is not an MLflow model, or its description is damaged or names a file that is missing or
            outside.
    """
    folder = given if given.is_dir() else given.parent
    if not (folder / MLMODEL).is_file():
        raise UnreadableModel(folder.name, f"is a directory without {MLMODEL}; give a model file or an MLflow model")
    document = _document(folder)
    flavors = document.get("flavors")
    if not isinstance(flavors, dict) or not flavors:
        raise _damaged(folder)
    inputs, outputs = _signature(folder, document.get("signature"))
    name = folder.name
    for flavor, entry in _ENTRIES.items():
        if flavor in flavors:
            described = flavors[flavor]
            if not isinstance(described, dict):
                raise _damaged(folder)
            file = _file(folder, flavor, described.get(entry), isfolder=flavor == "onnx")
            if flavor == "onnx":
                return Directory(name, file, inputs, outputs, lambda _: None)
            return Directory(name, None, inputs, outputs, _loader(folder, flavor, file, described))
    named = ", ".join(sorted(_on_one_line(str(flavor)) for flavor in flavors if flavor != _PYFUNC)) or _PYFUNC
    if _PYFUNC not in flavors:
        raise UnreadableModel(name, f"is an MLflow model of the flavor {named}, which is neither read nor loaded here")
    return Directory(name, None, inputs, outputs, lambda run_code: _run_mlflow(folder, named, run_code=run_code))


def _document(folder: Path) -> dict[Any, Any]:
    file = folder / MLMODEL
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise _damaged(folder)
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _damaged(folder) from error
    if not isinstance(document, dict):
        raise _damaged(folder)
    return document


def _damaged(folder: Path) -> UnreadableModel:
    return UnreadableModel(f"{folder.name}/{MLMODEL}", "is not the description of an MLflow model")


def _on_one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _file(folder: Path, flavor: str, named: object, *, isfolder: bool) -> Path:
    """The file of a flavor; for a flavor that may name a folder, the ONNX file in it."""
    file = _inside(folder, named, f"names no file of the flavor {flavor} inside the directory")
    if file.is_dir() and isfolder:  # with external weights, MLflow names the directory that holds both
        file /= "model.onnx"
    if not file.is_file():
        raise UnreadableModel(folder.name, f"has no file {_on_one_line(str(named))}, which its {MLMODEL} names")
    return file


def _inside(folder: Path, named: object, problem: str) -> Path:
    root = folder.resolve()
    path = (root / named).resolve() if isinstance(named, str) and named and "\0" not in named else root
    if path == root or not path.is_relative_to(root):
        raise UnreadableModel(f"{folder.name}/{MLMODEL}", problem)
    return path


def _loader(folder: Path, flavor: str, file: Path, described: Mapping[Any, Any]) -> Callable[[bool], Any]:
    if file.suffix == ".skops":
        return lambda run_code: native.skops(file, run_code=run_code)
    # XGBoost's and CatBoost's files are their own whatever their names are; scikit-learn's are pickles.
    if flavor == "sklearn" or file.suffix in _PICKLES:
        modules = _modules(folder, described.get("code"))

        def load(run_code: bool) -> Any:
            if run_code and modules is not None and str(modules) not in sys.path:
                sys.path.insert(0, str(modules))  # and left there: as MLflow does, since the classes may import later
            return native.pickled(file, run_code=run_code, flavor=flavor)

        return load
    return lambda _: native.load(file, library=flavor)


def _modules(folder: Path, named: object) -> Path | None:
    """The folder of Python modules that were saved with the model."""
    if named is None:
        return None
    path = _inside(folder, named, "names a folder of code outside the directory")
    return path if path.is_dir() else None


def _run_mlflow(folder: Path, flavors: str, *, run_code: bool) -> Any:
    """The model as MLflow itself loads it."""
    if not run_code:
        kind = f"an MLflow model of the flavor {flavors}"
        raise CodeRefused(folder.name, kind, "MLflow's loader and the code in the directory")
    try:
        from mlflow import pyfunc  # noqa: PLC0415  the caller has it
    except ImportError as error:
        raise MissingModule(folder.name, "mlflow") from error
    try:
        model = pyfunc.load_model(str(folder))
    except ModuleNotFoundError as error:
        raise MissingModule(folder.name, error.name or "") from error
    except Exception as error:  # what its code raises
        raise UnreadableModel(folder.name, f"cannot be loaded by MLflow: {reason_of(error)}") from error
    try:
        return model.get_raw_model()
    except NotImplementedError as error:
        problem = "is code and not an estimator; export what it computes to ONNX, or serve it as a kserve.Model"
        raise UnsupportedModel(problem) from error


def _signature(folder: Path, signature: object) -> tuple[list[Column], list[str]]:
    if signature is None:
        return [], []
    if not isinstance(signature, dict):
        raise _unreadable_signature(folder)
    try:
        inputs, outputs = (json.loads(signature.get(side) or "[]") or [] for side in ("inputs", "outputs"))
        columns = [Column(str(each["name"]), str(each["type"])) for each in inputs if "name" in each]
        names = [str(each["name"]) for each in outputs if "name" in each]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _unreadable_signature(folder) from error
    named = [each.name for each in columns]
    if len(columns) not in (0, len(inputs)) or len(set(named)) != len(named):
        raise _unreadable_signature(folder)
    return ([] if any(each.kind == "tensor" for each in columns) else columns), names


def _unreadable_signature(folder: Path) -> UnreadableModel:
    return UnreadableModel(f"{folder.name}/{MLMODEL}", "has a signature that cannot be read")


def cast(table: Any, directory: Directory, rows: str) -> Any:
    """An Arrow table whose columns have the types that the signature states, as MLflow would cast them.

    Raises:
        RowsRefused: a column has values that are not of the type.
    """
    import pyarrow as pa  # noqa: PLC0415  an extra

    kinds = {
        "boolean": pa.bool_(),
        "integer": pa.int64(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "string": pa.string(),
        "binary": pa.binary(),
        "datetime": pa.timestamp("us"),
    }
    for each in directory.inputs:
        at, column = table.schema.get_field_index(each.name), table[each.name]
        kind = kinds.get(each.kind)
        if kind is None or column.type == kind or pa.types.is_dictionary(column.type):
            continue
        try:
            # Floats lose digits when they are cast to float32: MLflow's type says that the model reads no more.
            found = column.cast(kind, safe=each.kind != "float")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            problem = f"has {column.type} values in column {each.name!r}; the signature of {directory.name} states "
            raise RowsRefused(rows, problem + each.kind) from error
        table = table.set_column(at, each.name, found)
    return table
