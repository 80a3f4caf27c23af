"""Estimators in files of XGBoost, LightGBM, CatBoost and skops. Loading one runs no code of the file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sabia.publishing.importing.errors import CodeRefused, MissingLibrary, RowsRefused, UnreadableModel

# Types outside skops's own list that scikit-learn's trees need; all of it is data.
TRUSTED = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor", "sklearn.tree._tree.Tree")
# A model of CatBoost starts so.
_CATBOOST = b"CBM1"


def is_native(given: Path) -> bool:
    """Whether the name of a file is one of these formats."""
    return given.is_file() and given.suffix in _LOADERS


def load(given: Path) -> Any:
    """The fitted estimator, or the booster, of a file.

    Raises:
        UnreadableModel: the file is truncated, or of another library.
        MissingLibrary: the library is not installed.
        CodeRefused: a skops file with types that are not known to be data.
    """
    library, loader = _LOADERS[given.suffix]
    try:
        return loader(given)
    except ImportError as error:
        raise MissingLibrary(given.name, library) from error
    except (CodeRefused, UnreadableModel):
        raise
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
    missing = [name for name in named if name not in given]
    if missing:
        raise RowsRefused(rows, f"has no column {missing[0]!r}, which the model takes")
    return named


def _xgboost(given: Path) -> Any:
    import xgboost  # noqa: PLC0415  an extra

    content = given.read_bytes()
    if given.suffix == ".json" and "learner" not in json.loads(content):
        raise UnreadableModel(given.name, "is JSON, but not a model of XGBoost")
    if not content.startswith(b"{"):
        raise UnreadableModel(given.name, "is truncated, or not a model of XGBoost")
    return xgboost.Booster(model_file=str(given))


def _lightgbm(given: Path) -> Any:
    import lightgbm  # noqa: PLC0415  an extra

    text = given.read_text()
    # LightGBM ends the process on a file that is cut off within its trees or its parameters.
    if not text.startswith("tree\n") or "\nend of trees\n" not in text or "\nend of parameters\n" not in text:
        raise UnreadableModel(given.name, "is truncated, or not a model of LightGBM")
    return lightgbm.Booster(model_str=text)


def _catboost(given: Path) -> Any:
    import catboost  # noqa: PLC0415  an extra

    if not given.read_bytes().startswith(_CATBOOST):
        raise UnreadableModel(given.name, "is truncated, or not a model of CatBoost")
    plain = catboost.CatBoost().load_model(str(given))
    kind = catboost.CatBoostClassifier if len(plain.classes_) else catboost.CatBoostRegressor
    return kind().load_model(str(given))


def _skops(given: Path) -> Any:
    import skops.io  # noqa: PLC0415  an extra

    untrusted = sorted(set(skops.io.get_untrusted_types(file=given)) - set(TRUSTED))
    if untrusted:
        remedy = "load it where you trust it and pass the estimator to sabia.publish"
        raise CodeRefused(given.name, f"types that are not trusted ({', '.join(untrusted)})", remedy, certain=False)
    return skops.io.load(given, trusted=list(TRUSTED))


_LOADERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    ".ubj": ("XGBoost", _xgboost),
    ".json": ("XGBoost", _xgboost),
    ".lgb": ("LightGBM", _lightgbm),
    ".txt": ("LightGBM", _lightgbm),
    ".cbm": ("CatBoost", _catboost),
    ".skops": ("skops", _skops),
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
