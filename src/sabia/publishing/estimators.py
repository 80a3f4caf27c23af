"""What an estimator predicts: its task, its classes, its outputs, and its answers by the names of the outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sabia.contract.manifest import Task
from sabia.contract.signature import Output
from sabia.contract.tensors import OUTPUT
from sabia.publishing.errors import HyperParameterRefused, TaskRefused
from sabia.publishing.graphs import Arrays

LABEL, PROBABILITIES = "label", "probabilities"
Kind = Literal["probability", "probabilities", "label", "score", "value", "values"]
Classes = list[str | int]
_PAIR = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """A fitted estimator and what is published of it.

    Attributes:
        kind: "probability" of the second of two classes; "probabilities" of all classes, with the label; "label" alone;
            "score": a regressor of 0 and 1, clipped to a probability; "value"; "values", one for each target.
        classes: as the signature writes them; empty for values.
        raw_classes: the same, as the estimator writes them.
    """

    estimator: Any
    task: Task
    kind: Kind
    classes: Classes
    raw_classes: list[Any]
    targets: list[str]

    def outputs(self, units: dict[str, str]) -> list[Output]:
        """The outputs of the signature; the first is the primary one."""
        if self.kind in ("probability", "score"):
            return [
                Output(name=OUTPUT, dtype="float64", role="probability", classes=self.classes or None, range=(0.0, 1.0))
            ]
        if self.kind in ("label", "probabilities"):
            dtype: Literal["string", "int64"] = "string" if isinstance(self.classes[0], str) else "int64"
            label = Output(name=LABEL, dtype=dtype, role="label", classes=self.classes)
            if self.kind == "label":
                return [label]
            shape: list[int | None] = [None, len(self.classes)]
            return [
                label,
                Output(
                    name=PROBABILITIES, dtype="float64", shape=shape, role="class-probabilities", classes=self.classes
                ),
            ]
        names = [OUTPUT] if self.kind == "value" else self.targets
        named = zip(names, self.targets, strict=True)
        return [Output(name=n, dtype="float64", role="value", unit=units.get(t, "unstated")) for n, t in named]

    def answers(self, rows: Any) -> Arrays:
        """What the estimator predicts for rows of the caller's own kind, by the names of the outputs."""
        if self.kind in ("probability", "probabilities"):
            probabilities = np.asarray(probabilities_of(self.estimator, rows), dtype=np.float64)
            if self.kind == "probability":
                return {OUTPUT: probabilities[:, 1]}
            return {LABEL: self.labels(self.estimator.predict(rows)), PROBABILITIES: probabilities}
        predicted = np.asarray(self.estimator.predict(rows))
        if self.kind == "label":
            return {LABEL: self.labels(predicted)}
        values = predicted.astype(np.float64)
        if self.kind == "values":
            return {name: values[:, at] for at, name in enumerate(self.targets)}
        values = values.reshape(len(values))
        return {OUTPUT: np.clip(values, 0.0, 1.0) if self.kind == "score" else values}

    def labels(self, values: Any) -> NDArray[Any]:
        """Classes as the signature writes them, of classes as the estimator does."""
        kind = object if isinstance(self.classes[0], str) else np.int64
        flat = np.asarray(values).reshape(-1).tolist()
        return np.array([as_class(value) for value in flat], dtype=kind)


class Booster:
    """A native booster of XGBoost or LightGBM, with the methods of an estimator."""

    def __init__(self, booster: Any, *, classes: int) -> None:
        self.booster = booster
        if classes:
            self.classes_ = np.arange(classes)

    def predict(self, rows: Any) -> NDArray[Any]:
        """The values, or the index of the most probable class; shape (rows,)."""
        if hasattr(self, "classes_"):
            return np.asarray(self.predict_proba(rows).argmax(axis=1))
        return self._raw(rows)

    def predict_proba(self, rows: Any) -> NDArray[np.float64]:
        """The probabilities of the classes, shape (rows, classes)."""
        found = self._raw(rows)
        return np.column_stack([1 - found, found]) if found.ndim == 1 else found

    def _raw(self, rows: Any) -> NDArray[np.float64]:
        if type(self.booster).__module__.partition(".")[0] == "lightgbm":
            return np.asarray(self.booster.predict(rows), dtype=np.float64)
        import xgboost  # noqa: PLC0415  the caller has it

        # Names are compared where the rows have them.
        matrix = xgboost.DMatrix(rows, enable_categorical=hasattr(rows, "iloc"))
        return np.asarray(self.booster.predict(matrix, validate_features=hasattr(rows, "iloc")), dtype=np.float64)


def adapted(estimator: Any) -> Any:
    """The estimator, or a native booster with the methods of one."""
    kind = f"{type(estimator).__module__.partition('.')[0]}.{type(estimator).__name__}"
    if kind not in ("xgboost.Booster", "lightgbm.Booster"):
        return estimator
    from sabia.publishing.converters import ensembles  # noqa: PLC0415  scikit-learn's converters need it

    ensemble = ensembles.read(estimator)
    classes = 0 if ensemble is None or ensemble.link not in ("sigmoid", "softmax") else max(2, len(ensemble.base))
    return Booster(estimator, classes=classes)


def subject(estimator: Any, target: NDArray[Any], targets: list[str], task: Task | None) -> Subject:
    """What is published of a fitted estimator, for a target of shape (rows,) or (rows, targets).

    Raises:
        TaskRefused: estimator, target and task do not fit together.
    """
    if not callable(getattr(estimator, "predict", None)):
        raise TaskRefused(f"{type(estimator).__name__} has no predict(); give a fitted estimator or pipeline")
    raw = getattr(estimator, "classes_", None)
    if isinstance(raw, list) or (raw is not None and target.ndim > 1 and target.shape[1] > 1):
        raise TaskRefused("a classifier of several targets is not supported; publish one model for each target")
    if raw is None or not is_classifier(estimator):
        return _regressor(estimator, target, targets, task)
    raw_classes = list(np.asarray(raw).reshape(-1).tolist())
    classes: Classes = [as_class(value) for value in raw_classes]
    found: Task = "binary" if len(classes) == _PAIR else "multi-class"
    if len(classes) < _PAIR or task not in (None, found):
        raise TaskRefused(f"the estimator knows {len(classes)} classes, which is not the task {task or 'binary'!r}")
    has_probabilities = _has_probabilities(estimator)
    kind: Kind = "label" if not has_probabilities else "probability" if found == "binary" else "probabilities"
    return Subject(estimator, found, kind, classes, raw_classes, targets)


def _regressor(estimator: Any, target: NDArray[Any], targets: list[str], task: Task | None) -> Subject:
    if target.dtype.kind not in "fiub":
        raise TaskRefused(f"{type(estimator).__name__} predicts numbers, and the target holds {target.dtype} values")
    if task == "binary":
        if not np.isin(target, (0, 1)).all():
            raise TaskRefused("a regressor publishes a probability only for a target of 0 and 1")
        return Subject(estimator, task, "score", [0, 1], [0, 1], targets)
    found: Task = "multi-output" if target.ndim > 1 and target.shape[1] > 1 else "regression"
    if task not in (None, found):
        raise TaskRefused(f"the estimator is a regressor of {len(targets)} target(s), which is not the task {task!r}")
    return Subject(estimator, found, "values" if found == "multi-output" else "value", [], [], targets)


def as_class(value: Any) -> str | int:
    """A class as the signature writes it: an integer, or a string."""
    if isinstance(value, bool | np.bool_):
        return int(value)
    if isinstance(value, int | np.integer) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return str(value)


def probabilities_of(estimator: Any, rows: Any) -> Any:
    """The probabilities of the classes, shape (rows, classes)."""
    return estimator.predict_proba(rows)


def _has_probabilities(estimator: Any) -> bool:
    try:
        return callable(getattr(estimator, "predict_proba", None))
    except AttributeError:
        return False


def is_classifier(estimator: Any) -> bool:
    """Whether an estimator, or the last step of a pipeline, predicts classes."""
    from sklearn.base import is_classifier as says_so  # noqa: PLC0415  an extra

    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    if isinstance(last, Booster):
        return hasattr(last, "classes_")
    try:
        return bool(says_so(last))
    except (AttributeError, TypeError):
        return hasattr(last, "predict_proba")


def chain(estimator: Any) -> list[str]:
    """The classes of an estimator and of its steps, `package.Class`, for the fingerprint of the methods."""
    steps = [step for _, step in estimator.steps] if hasattr(estimator, "steps") else [estimator]
    steps = [step.booster if isinstance(step, Booster) else step for step in steps]
    return [
        step if isinstance(step, str) else f"{type(step).__module__.partition('.')[0]}.{type(step).__name__}"
        for step in steps
    ]


def hyper_params(estimator: Any) -> dict[str, Any]:
    """The estimator's own parameters, those of a pipeline by its steps' names, as far as JSON holds them."""
    get_params = getattr(estimator, "get_params", None)
    if not callable(get_params):
        return {}
    defaults = {} if hasattr(estimator, "steps") else _defaults(estimator)
    found = {}
    for name, value in sorted(get_params().items()):
        try:
            plain = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError):
            continue
        if value is not None and (name not in defaults or defaults[name] != value):
            found[name] = plain
    return found


def recorded(given: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters as JSON holds them; keys that are numbers, as the classes of `class_weight` are, become text.

    Raises:
        HyperParameterRefused: JSON cannot hold one of them.
    """
    found = {}
    for name, value in given.items():
        try:
            found[name] = json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise HyperParameterRefused(name) from error
    return found


def _defaults(estimator: Any) -> dict[str, Any]:
    try:
        return dict(type(estimator)().get_params())
    except Exception:  # noqa: BLE001  a class that needs arguments has no defaults to leave out
        return {}


def clone(estimator: Any) -> Any:
    """The same estimator, unfitted.

    Raises:
        TaskRefused: it is not one of scikit-learn's kind.
    """
    from sklearn.base import clone as cloned  # noqa: PLC0415

    try:
        return cloned(estimator)
    except TypeError as error:
        problem = f"{type(estimator).__name__} cannot be fitted here; give the held-out rows instead of a share"
        raise TaskRefused(problem) from error


def names_of(target: Any, columns: int, given: str | Sequence[str] | None) -> list[str]:
    """The names of the targets: those given, those of the caller's series or frame, or "target"."""
    if isinstance(given, str):
        return [given] if columns == 1 else [f"{given}{at}" for at in range(columns)]
    if given is not None:
        return list(given)
    named = getattr(target, "columns", None)
    if named is not None and len(named) == columns:
        return [str(name) for name in named]
    name = getattr(target, "name", None)
    if isinstance(name, str) and columns == 1:
        return [name]
    return ["target"] if columns == 1 else [f"target{at}" for at in range(columns)]
