"""The decision: rows in, predictions out. Knows no protocol.

Everything that a version decides with is made here, once, from verified bytes: the ONNX session, the feature schema,
the bins of its prediction and, for linear methods, the parts of an explanation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from artifacts import Artifact
from artifacts.manifest import MODEL_FILE, REFERENCE_FILE, STATE_FILE
from predictor.errors import InvalidInput, LoadFailed, ModelFailed, NotExplainable

Array = NDArray[np.float64]

INPUT = "features"
OUTPUT = "prediction"
_INPUT_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(double)": np.float64, "tensor(float)": np.float32}


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear version's score, before it becomes a probability: intercept + sum of contributions.

    All arrays have shape (columns,). A contribution is the coefficient times the standardised value, so it is 0 at the
    mean of the training rows.
    """

    means: Array
    scales: Array
    coefficients: Array
    intercept: float

    def contributions(self, rows: Array) -> Array:
        """Shape (rows, columns)."""
        return (rows - self.means) / self.scales * self.coefficients


class Decision:
    """One version, ready to answer.

    Attributes:
        names: the features, in the order of the columns.
        minimum, maximum: the training rows' range, shape (columns,).
        bins: the inner edges of the prediction's bins.
        linear: the parts of an explanation, or None when the methods have none.
    """

    def __init__(self, artifact: Artifact) -> None:
        manifest = artifact.manifest
        self.manifest = manifest
        self.name = manifest.name
        self.version = manifest.version
        self.names = tuple(feature.name for feature in manifest.features)
        self.width = len(self.names)
        self.column = {name: at for at, name in enumerate(self.names)}
        self.minimum = np.array([feature.minimum for feature in manifest.features])
        self.maximum = np.array([feature.maximum for feature in manifest.features])
        self.bins = _prediction_bins(artifact.files[REFERENCE_FILE])
        self.linear = _linear(artifact.files[STATE_FILE], self.width)
        self._session = _session(artifact.files[MODEL_FILE])
        self._dtype = _input_dtype(self._session, self.width)
        self._prove_it_answers()

    def predict(self, rows: Array) -> Array:
        """Predictions of shape (rows,) for finite float64 rows of shape (rows, columns).

        Raises:
            InvalidInput: a value does not fit the precision of the model.
            ModelFailed: the model raised, or answered something that is not a number.
        """
        values = rows if self._dtype is np.float64 else self._narrowed(rows)
        try:
            (prediction,) = self._session.run([OUTPUT], {INPUT: values})
        except (
            Exception
        ) as error:  # ONNX Runtime raises classes of its own, and RuntimeError, for whatever a graph meets
            raise ModelFailed from error
        answer = np.asarray(prediction, dtype=np.float64)
        if answer.shape != (len(rows),) or not np.isfinite(answer).all():
            raise ModelFailed
        return answer

    def explain(self, rows: Array) -> tuple[Array, float]:
        """Contributions of shape (rows, columns) and the intercept that they add up to the score with.

        Raises:
            NotExplainable: the methods are not linear.
        """
        if self.linear is None:
            raise NotExplainable
        return self.linear.contributions(rows), self.linear.intercept

    def out_of_range(self, rows: Array) -> NDArray[np.int64]:
        """For each feature, how many of the rows lie outside the training range; shape (columns,)."""
        return np.asarray(np.count_nonzero((rows < self.minimum) | (rows > self.maximum), axis=0), dtype=np.int64)

    def bin_counts(self, prediction: Array) -> NDArray[np.int64]:
        """How many predictions fall into each bin; shape (bins,)."""
        at = np.searchsorted(self.bins, prediction, side="right")
        return np.bincount(at, minlength=len(self.bins) + 1)

    def _narrowed(self, rows: Array) -> NDArray[np.floating[Any]]:
        with np.errstate(over="ignore"):
            values = rows.astype(self._dtype)
        lost = np.argwhere(~np.isfinite(values))
        if len(lost):
            row, column = lost[0]
            raise InvalidInput(f'row {row}, feature "{self.names[column]}"', "is too large for the model's precision")
        return values

    def _prove_it_answers(self) -> None:
        middle = (self.minimum / 2 + self.maximum / 2).reshape(1, -1)
        try:
            self.predict(middle)
        except (ModelFailed, InvalidInput) as error:
            raise LoadFailed("the model does not answer a row from the middle of its training range.") from error


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One row is microseconds of work; a pool of threads would cost more than it saves, and fight other workers.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as in predict(): its classes have no common base of their own
        raise LoadFailed("model.onnx is not a model that ONNX Runtime can load.") from error


def _input_dtype(session: onnxruntime.InferenceSession, width: int) -> type[np.floating[Any]]:
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]
    node = inputs.get(INPUT)
    if list(inputs) != [INPUT] or OUTPUT not in outputs or node is None or node.type not in _INPUT_TYPES:
        raise LoadFailed(f"model.onnx must have one float input {INPUT!r} and an output {OUTPUT!r}.")
    if len(node.shape) != 2 or node.shape[1] != width:
        raise LoadFailed(f"model.onnx takes rows of {node.shape[1:]}, the manifest names {width} features.")
    return _INPUT_TYPES[node.type]


class _Histogram(msgspec.Struct):
    edges: list[float]


class _Reference(msgspec.Struct):
    prediction: _Histogram


class _LinearParams(msgspec.Struct):
    means: list[float]
    scales: list[float]
    coefficients: list[float]
    intercept: float


class _State(msgspec.Struct):
    params: dict[str, Any]


def _prediction_bins(data: bytes) -> Array:
    try:
        return np.array(msgspec.json.decode(data, type=_Reference).prediction.edges)
    except msgspec.MsgspecError as error:
        raise LoadFailed("reference.json does not describe the prediction's bins.") from error


def _linear(data: bytes, width: int) -> Linear | None:
    try:
        params = msgspec.json.decode(data, type=_State).params
    except msgspec.MsgspecError as error:
        raise LoadFailed("state.json does not hold the model's params.") from error
    if "coefficients" not in params:
        return None
    try:
        found = msgspec.convert(params, _LinearParams)
    except msgspec.ValidationError as error:
        raise LoadFailed("state.json has coefficients, but not all that belongs to them.") from error
    if not len(found.means) == len(found.scales) == len(found.coefficients) == width:
        raise LoadFailed(f"state.json must have one mean, scale and coefficient for each of {width} features.")
    return Linear(np.array(found.means), np.array(found.scales), np.array(found.coefficients), found.intercept)
