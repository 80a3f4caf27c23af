"""The methods that a recipe names: the four built in, or `package.module:Class` of the user's own.

A recipe's own methods are code that runs where the recipe is trained, and nowhere else: a version holds the graph that
its estimator was converted to. They are one of

- a class of an estimator, such as `sklearn.ensemble:HistGradientBoostingClassifier`, or a function that makes one: it
  is called with the hyper-parameters, and the estimator's `fit` with the inputs, a data frame, and the target;
- a class as the talk's models are: `train(target, features, hyper_params)` leaves the fitted estimator in `estimator`.
"""

from __future__ import annotations

import importlib
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils._param_validation import InvalidParameterError  # private; see `sabia.training.models`

from sabia.errors import SabiaError
from sabia.training.errors import InvalidData, InvalidHyperParams, InvalidMethods, TrainingFailed
from sabia.training.models import METHODS, Model, model_of
from sabia.training.tables import Table

_OWN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_own(methods: str) -> bool:
    """Whether the name is that of the user's own methods."""
    return _OWN.fullmatch(methods) is not None


def fitted(methods: str, hyper_params: dict[str, Any], rows: Table, *, folder: Path, seed: int) -> Any:
    """Train these methods on rows, and return what publishing takes: an estimator, or an object that has one.

    The random state that estimators share is seeded, so that the same rows give the same estimator. Modules beside the
    recipe, in `folder`, can be imported.

    Raises:
        InvalidMethods: the methods cannot be imported, or are not methods.
        InvalidHyperParams: they do not take the hyper-parameters.
        InvalidData: built-in methods do not take the rows.
        TrainingFailed: the estimator raised an exception.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  the state that an estimator without `random_state` uses
    if methods in METHODS:
        return _built_in(methods, hyper_params, rows)
    own = load(methods, folder)
    if isinstance(own, type) and hasattr(own, "train") and not hasattr(own, "fit"):
        model = _made(methods, own, {})
        _call(methods, lambda: model.train(rows.target, rows.frame, hyper_params))
        if getattr(model, "estimator", None) is None:
            raise InvalidMethods(methods, "train() leaves no fitted estimator in `estimator`")
        return model
    estimator = _made(methods, own, hyper_params)
    if not callable(getattr(estimator, "fit", None)):
        raise InvalidMethods(methods, f"it makes a {type(estimator).__name__}, which has no fit()")
    _call(methods, lambda: estimator.fit(rows.frame, rows.target))
    return estimator


def load(methods: str, folder: Path) -> Callable[..., Any]:
    """The class or function that `package.module:Class` names: installed, in the current folder, or in `folder`.

    Raises:
        InvalidMethods: there is none, or its module cannot be imported.
    """
    module, _, attribute = methods.partition(":")
    for place in (str(Path.cwd()), str(folder.resolve())):
        if place not in sys.path:
            sys.path.append(place)
    try:
        own = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:
        raise InvalidMethods(methods, f"importing {module} raised {_reason(error)}") from error
    if not callable(own):
        raise InvalidMethods(methods, f"{module} has no class or function {attribute}")
    return own  # type: ignore[no-any-return]


def _made(methods: str, own: Callable[..., Any], hyper_params: dict[str, Any]) -> Any:
    try:
        return own(**hyper_params)
    except Exception as error:
        raise InvalidHyperParams(methods, _reason(error)) from error


def _call(methods: str, train: Callable[[], object]) -> None:
    try:
        train()
    except InvalidParameterError as error:
        raise InvalidHyperParams(methods, _reason(error)) from error
    except SabiaError:
        raise
    except Exception as error:
        raise TrainingFailed(methods, _reason(error)) from error


def _reason(error: Exception) -> str:
    line = next(iter(str(error).strip().splitlines()), "").rstrip(".: ")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _built_in(methods: str, hyper_params: dict[str, Any], rows: Table) -> Model:
    model = model_of(methods)
    for name in rows.inputs.schema.names:
        column = rows.inputs[name]
        kind = column.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            raise InvalidData(f"column {name!r} is {kind}, and {methods} takes numbers; name methods of your own")
        if column.null_count and not model.takes_nulls:
            raise InvalidData(f"column {name!r} is null in {column.null_count} rows; {methods} takes no nulls")
    targets = rows.targets.schema.names
    if len(targets) > 1 or not np.isin(np.asarray(rows.target), (0, 1)).all():
        raise InvalidData(f"{methods} predicts a target of 0 and 1, which {', '.join(targets)} is not; name your own")
    return model.train(np.asarray(rows.target).astype(np.int64), rows.frame.astype(np.float64), hyper_params)
