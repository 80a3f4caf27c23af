"""Estimators in files of XGBoost, LightGBM, CatBoost and skops, and in pickles.

Only a pickle, and a skops file of types that are not known to be data, runs code when it is loaded: never unless the
caller allows it.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sabia.publishing.importing import trial
from sabia.publishing.importing.errors import (
    CodeRefused,
    ImportRefused,
    MissingLibrary,
    MissingModule,
    RowsRefused,
    UnreadableModel,
    reason_of,
)

# Types outside skops's own list that scikit-learn's trees need; all of it is data.
TRUSTED = (
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
    # MLflow saves LightGBM's estimators so; their state is a text that LightGBM parses.
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "lightgbm.sklearn.LGBMRegressor",
)
# A compressed file is not a model if it unpacks to more than this, and to more than 20 times its size.
_UNPACKED_BYTES, _UNPACKED_TIMES = 2**30, 20
# Types that are named in the sentence that refuses a skops file.
_SHOWN = 6
_PARAMETER = re.compile(r"\[[a-z0-9_]+: [^\[\]\x00]*\]")
# A model of CatBoost starts so.
_CATBOOST = b"CBM1"


def is_native(given: Path) -> bool:
    """Whether the name of a file is one of these formats."""
    return given.is_file() and given.suffix in _SUFFIXES


def load(given: Path, *, library: str | None = None, run_code: bool = False) -> Any:
    """The fitted estimator, or the booster, of a file.

    Args:
        given: the file.
        library: whose file it is, in lower case; by default its suffix says so.
        run_code: whether a file that is not data may be loaded.

    Raises:
        UnreadableModel: the file is truncated, or of another library.
        MissingLibrary, MissingModule: a library is not installed.
        CodeRefused: it is not data, and `run_code` is false.
    """
    library = library or _SUFFIXES[given.suffix]
    if library == _PICKLE:
        return pickled(given, run_code=run_code)
    if library == "skops":
        return skops(given, run_code=run_code)
    name, loader = _LOADERS[library]
    return _loaded(given, name, lambda: loader(given))


def skops(given: Path, *, run_code: bool = False) -> Any:
    """The estimator of a skops file.

    Raises:
        UnreadableModel, MissingLibrary, MissingModule, CodeRefused: as in `load`.
    """
    return _loaded(given, "skops", lambda: _skops(given, run_code=run_code))


def pickled(given: Path, *, run_code: bool, flavor: str | None = None) -> Any:
    """The object in a file of pickle, cloudpickle or joblib: loading it runs its code.

    `flavor` is that of the MLflow model whose file it is, if any.

    Raises:
        CodeRefused: `run_code` is false.
        MissingModule: it needs a module that is not installed.
        UnreadableModel: it cannot be loaded.
    """
    if not run_code:
        kind = "a pickle" if flavor is None else f"an MLflow model of the flavor {flavor} as a pickle"
        raise CodeRefused(given.name, kind, "it")
    import joblib  # noqa: PLC0415  scikit-learn brings it

    try:
        return joblib.load(given)
    except ModuleNotFoundError as error:
        raise MissingModule(given.name, error.name or "") from error
    except Exception as error:  # what its code raises
        raise UnreadableModel(given.name, f"cannot be loaded as a pickle: {reason_of(error)}") from error


def _loaded(given: Path, library: str, loader: Callable[[], Any]) -> Any:
    try:
        return loader()
    except ImportRefused:
        raise
    except ImportError as error:
        module = error.name or library.lower()
        raise (
            MissingLibrary(given.name, library)
            if module.partition(".")[0] == library.lower()
            else MissingModule(given.name, module)
        ) from error
    except Exception as error:  # each library raises its own, of any kind
        raise UnreadableModel(given.name, f"is truncated, or not a model of {library}") from error


def columns_of(estimator: Any, given: Sequence[str], rows: str) -> list[str]:
    """The columns of a table that a model takes, in its order: by name where it has names, else all of `given`.

    A booster without names gets those of the table.

    Raises:
        RowsRefused: the table `rows` lacks a column, or has another number of them.
    """
    named, count = _features(estimator)
    if named is None:
        if count is not None and count != len(given):
            raise RowsRefused(rows, f"has {len(given)} columns beside the target; the model takes {count}")
        _give_names(estimator, list(given))
        return list(given)
    # LightGBM writes a space in a name as "_".
    written = {name.replace(" ", "_"): name for name in given} if _library(estimator) == "lightgbm" else {}
    found = [name if name in given else written.get(name) for name in named]
    if None in found:
        raise RowsRefused(rows, f"has no column {named[found.index(None)]!r}, which the model takes")
    return [name for name in found if name is not None]


def _xgboost(given: Path) -> Any:
    import xgboost  # noqa: PLC0415  an extra

    content = given.read_bytes()
    if given.suffix == ".json":
        document = json.loads(content)
        if not isinstance(document, dict) or "learner" not in document:
            raise UnreadableModel(given.name, "is JSON, but not a model of XGBoost")
    if not content.startswith(b"{"):
        raise UnreadableModel(given.name, "is truncated, or not a model of XGBoost")
    _try_apart(given, "XGBoost", xgboost.core._LIB._name)  # noqa: SLF001  it has no other name
    return xgboost.Booster(model_file=str(given))


def _lightgbm(given: Path) -> Any:
    import lightgbm  # noqa: PLC0415  an extra

    text = given.read_text()
    # LightGBM ends the process on a file that is cut off within its trees or its parameters.
    if not text.startswith("tree\n") or "\nend of trees\n" not in text or "\nend of parameters\n" not in text:
        raise UnreadableModel(given.name, "is truncated, or not a model of LightGBM")
    # It reads a parameter without a bracket or a colon past its end.
    parameters = text.partition("\nparameters:")[2].partition("\nend of parameters\n")[0]
    if not all(_PARAMETER.fullmatch(line) for line in parameters.splitlines() if line):
        raise UnreadableModel(given.name, "is truncated, or not a model of LightGBM")
    _try_apart(given, "LightGBM", lightgbm.basic._LIB._name)  # noqa: SLF001  it has no other name
    return lightgbm.Booster(model_str=text)


def _try_apart(given: Path, library: str, shared: str) -> None:
    if not trial.survives(given, library.lower(), shared):
        raise UnreadableModel(given.name, f"is truncated, or not a model of {library}")


def _catboost(given: Path) -> Any:
    import catboost  # noqa: PLC0415  an extra

    content = given.read_bytes()
    # CatBoost reads a truncated file past its end. The length of its core stands behind the magic bytes.
    if not content.startswith(_CATBOOST) or int.from_bytes(content[4:8], "little") > len(content) - 8:
        raise UnreadableModel(given.name, "is truncated, or not a model of CatBoost")
    _try_apart(given, "CatBoost", catboost.__file__)
    plain = catboost.CatBoost().load_model(str(given))
    kind = catboost.CatBoostClassifier if len(plain.classes_) else catboost.CatBoostRegressor
    return kind().load_model(str(given))


def _skops(given: Path, *, run_code: bool) -> Any:
    from skops import io  # noqa: PLC0415  an extra

    with zipfile.ZipFile(given) as archive:
        unpacked = sum(each.file_size for each in archive.infolist())
    if unpacked > max(_UNPACKED_BYTES, _UNPACKED_TIMES * given.stat().st_size):
        raise UnreadableModel(given.name, f"unpacks to {unpacked:,} bytes, more than a model does")
    untrusted = sorted(set(io.get_untrusted_types(file=given)) - set(TRUSTED))
    if untrusted and not run_code:
        named = ", ".join(untrusted[:_SHOWN]) + (", ..." if len(untrusted) > _SHOWN else "")
        raise CodeRefused(given.name, f"types that are not trusted ({named})", "their code", certain=False)
    return io.load(given, trusted=[*TRUSTED, *untrusted])


_LOADERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "xgboost": ("XGBoost", _xgboost),
    "lightgbm": ("LightGBM", _lightgbm),
    "catboost": ("CatBoost", _catboost),
}
_PICKLE = "pickle"
_SUFFIXES = {
    ".ubj": "xgboost",
    ".json": "xgboost",
    ".lgb": "lightgbm",
    ".txt": "lightgbm",
    ".cbm": "catboost",
    ".skops": "skops",
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".joblib": _PICKLE,
}


def _library(estimator: Any) -> str:
    return type(estimator).__module__.partition(".")[0]


def _features(estimator: Any) -> tuple[list[str] | None, int | None]:
    """The names of the features, None where the model was trained without, and their number."""
    if _library(estimator) == "xgboost" and hasattr(estimator, "num_features"):
        return estimator.feature_names, estimator.num_features()
    if _library(estimator) == "lightgbm" and callable(getattr(estimator, "feature_name", None)):
        names = estimator.feature_name()
        return _unless(names, [f"Column_{at}" for at in range(len(names))])
    if _library(estimator) == "catboost":
        names = list(estimator.feature_names_)
        return _unless(names, [str(at) for at in range(len(names))])
    named = getattr(estimator, "feature_names_in_", None)
    return None if named is None else [str(name) for name in named], getattr(estimator, "n_features_in_", None)


def _unless(names: list[str], numbered: list[str]) -> tuple[list[str] | None, int]:
    return None if names == numbered else names, len(names)


def _give_names(estimator: Any, names: list[str]) -> None:
    if _library(estimator) == "xgboost":
        estimator.feature_names = names
    elif _library(estimator) == "catboost":
        estimator.set_feature_names(names)
