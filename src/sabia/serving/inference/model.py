"""The model: rows in, predictions out. Knows no protocol.

Everything that predicts is built here, once, from verified bytes: the ONNX session, the feature schema, the bins of the
prediction and, for linear methods, the parts of an explanation.
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sabia.contract import reference as references
from sabia.contract import state as states
from sabia.contract.bins import counts_of
from sabia.contract.errors import InvalidReference, InvalidState
from sabia.contract.manifest import REFERENCE_FILE, STATE_FILE
from sabia.contract.signature import Signature
from sabia.contract.tensors import INPUT, OUTPUT
from sabia.registry.verification import Artifact
from sabia.serving.errors import InvalidInput, LoadFailed, ModelFailed
from sabia.serving.explanations.explainer import Explanations, TreeExplainer
from sabia.serving.inference.batch import Batch, from_matrix
from sabia.serving.inference.session import open_session

Array = NDArray[np.float64]

_FLOATS: dict[str, type[np.floating[Any]]] = {"tensor(double)": np.float64, "tensor(float)": np.float32}
# Sums of products of larger values may overflow a float64; no measurement is near.
LARGEST = 1e100
# Rows that are compared with the ranges at once.
_BLOCK = 32
# Rows that are timed at loading to learn what a row costs.
_TIMED_ROWS = 64


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


class Model:
    """One version, ready to predict.

    Attributes:
        names: the features, in the order of the columns.
        nullable: the features that may be null; a null is NaN.
        minimum, maximum: the training rows' range, shape (columns,); infinite where it is not known.
        bins: the inner edges of the prediction's bins.
        bin_count: the number of them.
        content_digest: of the version's files.
        signature: typed inputs and outputs.
        dtype: the precision that the model reads its input in.
        largest: values further from zero are refused: the arithmetic could overflow.
        linear: the parts of an explanation, or None when the methods are not linear.
        explainer: explains predictions that are not linear.
    """

    def __init__(self, artifact: Artifact, session: onnxruntime.InferenceSession | None = None) -> None:
        manifest = artifact.manifest
        self.manifest = manifest
        self.name = manifest.name
        self.version = manifest.version
        self.content_digest = manifest.digest
        self.signature = manifest.signature
        self.names = tuple(feature.name for feature in manifest.inputs)
        self.width = len(self.names)
        self.column = {name: at for at, name in enumerate(self.names)}
        self.nullable = frozenset(each.name for each in manifest.inputs if each.nullable)
        self._nullable = np.array([each.nullable for each in manifest.inputs])
        self.minimum = np.array([-np.inf if each.minimum is None else each.minimum for each in manifest.inputs])
        self.maximum = np.array([np.inf if each.maximum is None else each.maximum for each in manifest.inputs])
        self._minima, self._maxima = np.tile(self.minimum, _BLOCK), np.tile(self.maximum, _BLOCK)
        check_reference(artifact.files[REFERENCE_FILE])
        self.bins = manifest.bins.inner_edges
        self.bin_count = len(self.bins) + 1
        self.linear = _linear(artifact.files[STATE_FILE], self.width)
        self._session = session or open_session(artifact.model, prepack=manifest.runtime.prepack)
        self.dtype = _input_dtype(self._session, self.width)
        self.largest = min(LARGEST, float(np.finfo(self.dtype).max) / 2)
        self._predict_row: Callable[[Sequence[float]], float] = _BoundSession(self._session, self.dtype, self.width)
        self._smoke_test()
        self._fast_path = self._linear_fast_path()
        self.explainer = TreeExplainer(
            artifact,
            lambda batch: [{INPUT: self._matrix(batch).astype(self.dtype, copy=False)}],
            lambda batch: {OUTPUT: self._predict(self._matrix(batch))},
        )
        self._predict_row = self._fast_path or self._predict_row
        self._call_cost, self._row_cost = self._time()

    def predict(self, rows: Array) -> Array:
        """Predictions of shape (rows,) for float64 rows of shape (rows, columns); NaN is a null.

        The same row gets the same prediction, up to `FAST_PATH_TOLERANCE` where a linear fast path exists.

        Raises:
            InvalidInput: a value is not a finite number (a feature that may be null may be NaN), or larger than
                `largest`.
            ModelFailed: the model raised, or predicted something that is not a number.
        """
        # NaN compares as false, so it fails here as well.
        complete = rows.max() <= self.largest and rows.min() >= -self.largest
        if not complete:
            self._check(rows)
        # Only the graph says what becomes of a null.
        if self._fast_path is None or not complete:
            response = self._predict(rows)
        elif len(rows) == 1:  # the same prediction as predict_row
            response = np.array([self._fast_path(rows[0].tolist())])
        else:
            response = self._fast_path.many(rows)
        if not np.isfinite(response).all():
            raise ModelFailed
        return response

    def _predict(self, rows: Array) -> Array:
        values = rows.astype(self.dtype, copy=False)
        try:
            (prediction,) = self._session.run([OUTPUT], {INPUT: values})
        except (
            Exception
        ) as error:  # ONNX Runtime raises classes of its own, and RuntimeError, for whatever a graph meets
            raise ModelFailed from error
        response = np.asarray(prediction, dtype=np.float64)
        if response.shape != (len(rows),):
            raise ModelFailed
        return response

    def predict_row(self, row: Sequence[float]) -> float:
        """The prediction of one row of finite numbers; the same as that of `predict`, without arrays.

        Not thread-safe: the row is written where the session reads it.

        Raises:
            InvalidInput: a value is larger than `largest`.
            ModelFailed: the model raised, or predicted something that is not a number.
        """
        if max(row) > self.largest or min(row) < -self.largest:
            self._check(np.array([row], dtype=np.float64))
        try:
            prediction = self._predict_row(row)
        except Exception as error:  # as in predict()
            raise ModelFailed from error
        if not math.isfinite(prediction):
            raise ModelFailed
        return prediction

    @property
    def has_fast_path(self) -> bool:
        """Whether the linear fast path makes the predictions."""
        return self._fast_path is not None

    def expected_seconds(self, rows: int) -> float:
        """The expected duration of `predict` for this many rows, by its recent durations."""
        return self._call_cost + rows * self._row_cost

    def record_duration(self, rows: int, seconds: float) -> None:
        """Learn from the duration of one `predict`: at once when it is slower, gradually when it is faster again."""
        cost = max(0.0, seconds - self._call_cost) / rows
        self._row_cost = cost if cost > self._row_cost else 0.9 * self._row_cost + 0.1 * cost

    def explain(self, rows: Array, prediction: Array, check: Callable[[], None] = lambda: None) -> Explanations:
        """What the scores of rows are made of, for which the model predicted `prediction`.

        Args:
            rows: shape (rows, columns).
            prediction: shape (rows,).
            check: called now and then; raises to end the work.

        Raises:
            NotExplainable: the methods are neither linear nor trees that can be explained.
        """
        if self.linear is None:
            return self.explainer.explain(from_matrix(self.signature.inputs, rows), {OUTPUT: prediction}, check)
        contributions = self.linear.contributions(rows)
        intercepts = np.full(len(rows), self.linear.intercept)
        scores = intercepts + contributions.sum(axis=1)
        return Explanations(self._scale, intercepts, contributions, scores)

    @cached_property
    def _scale(self) -> str:
        """What linear scores are: a link makes log-odds into probabilities, or there is none."""
        if self.signature.primary_output.role != "probability":
            return "value"
        if self._fast_path is not None:
            return "log-odds" if self._fast_path.link is LINKS[0] else "probability"
        middle = self._middle()
        assert self.linear is not None, "only linear scores have a scale"
        score, prediction = self.linear.intercept + self.linear.contributions(middle).sum(axis=1), self._predict(middle)
        return "log-odds" if np.allclose(LINKS[0].many(score), prediction, rtol=0, atol=1e-9) else "probability"

    def out_of_range(self, rows: Array) -> NDArray[np.int64]:
        """The number of rows outside the training range, for each feature; shape (columns,)."""
        # Comparing blocks of rows with as many copies of the ranges is three times as fast as comparing row by row.
        blocked = len(rows) // _BLOCK * _BLOCK
        outside = np.empty(rows.shape, dtype=np.bool_)
        blocks = rows[:blocked].reshape(-1, _BLOCK * self.width)
        outside[:blocked].reshape(blocks.shape)[:] = (blocks < self._minima) | (blocks > self._maxima)
        outside[blocked:] = (rows[blocked:] < self.minimum) | (rows[blocked:] > self.maximum)
        # A product with ones is three times as fast as counting along the first axis, and exact up to 2**24 rows.
        counts = np.ones(len(rows), dtype=np.float32) @ outside.astype(np.float32)
        return np.asarray(counts, dtype=np.int64)

    def bin_counts(self, prediction: Array) -> NDArray[np.int64]:
        """The number of predictions in each bin; shape (bins,)."""
        return counts_of(self.bins, prediction)

    def _check(self, rows: Array) -> None:
        """Raise InvalidInput for the first value that is too large, or not a number where it must be one."""
        wrong = ~(np.abs(rows) <= self.largest) & ~(np.isnan(rows) & self._nullable)
        if not wrong.any():
            return
        row, column = np.argwhere(wrong)[0]
        problem = f"is larger than {self.largest:.3g}" if np.isfinite(rows[row, column]) else "is not a finite number"
        raise InvalidInput(f'row {row}, feature "{self.names[column]}"', problem)

    @staticmethod
    def _matrix(batch: Batch) -> Array:
        if batch.matrix is not None:
            return np.asarray(batch.matrix)
        return np.column_stack([np.asarray(column, dtype=np.float64) for column in batch.columns.values()])

    def _smoke_test(self) -> None:
        middle = self._middle()
        try:
            together, alone = self._predict(middle), self.predict_row(middle[0].tolist())
        except (ModelFailed, InvalidInput) as error:
            raise LoadFailed("the model fails on a row from the middle of its training range.") from error
        if not math.isfinite(alone) or together[0] != alone:
            raise LoadFailed("the model predicts differently for a row alone and among others.")

    def _middle(self) -> Array:
        """A row from the middle of the training range, 0 where it has no end; shape (1, columns)."""
        bounded = np.isfinite(self.minimum) & np.isfinite(self.maximum)
        with np.errstate(invalid="ignore"):
            return np.where(bounded, self.minimum / 2 + self.maximum / 2, 0.0).reshape(1, -1)

    def _linear_fast_path(self) -> LinearFastPath | None:
        """The fast path of a linear version, if its predictions are the session's."""
        if self.linear is None or not np.isfinite([self.minimum, self.maximum]).all():
            return None
        rows = _probes(self.minimum, self.maximum)
        expected = self._predict(rows)
        for link in LINKS:
            path = LinearFastPath(self.linear, link)
            for predictions in (path.many(rows), np.array([path(row.tolist()) for row in rows])):
                if not (np.abs(predictions - expected) <= FAST_PATH_TOLERANCE).all():
                    break
            else:
                return path
        return None

    def _time(self) -> tuple[float, float]:
        """Seconds for a call, and for each row, the best of a few."""
        middle = self._middle()
        one, many = (
            min(_seconds(self._predict, rows) for _ in range(3))
            for rows in (middle, middle.repeat(_TIMED_ROWS, axis=0))
        )
        return one, max(0.0, many - one) / _TIMED_ROWS


class _BoundSession:
    """A session bound to the memory of one row and one prediction: no array is made or copied."""

    def __init__(self, session: onnxruntime.InferenceSession, dtype: type[np.floating[Any]], width: int) -> None:
        output = next(node for node in session.get_outputs() if node.name == OUTPUT)
        if output.type not in _FLOATS:
            raise LoadFailed(f"model.onnx must return {OUTPUT!r} as floats.")
        self._row = np.zeros((1, width), dtype=dtype)
        self._prediction = np.zeros(1, dtype=_FLOATS[output.type])
        self._bytes = self._row.data.cast("B")
        self._pack = struct.Struct(f"{width}{self._row.dtype.char}").pack_into
        self._session = session
        self._binding = session.io_binding()
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in (self._row, self._prediction)]
        self._binding.bind_ortvalue_input(INPUT, values[0])
        self._binding.bind_ortvalue_output(OUTPUT, values[1])

    def __call__(self, row: Sequence[float]) -> float:
        self._pack(self._bytes, 0, *row)
        self._session.run_with_iobinding(self._binding)
        return float(self._prediction[0])


@dataclass(frozen=True, slots=True)
class Link:
    """From a linear score to a prediction: of one, and of many."""

    one: Callable[[float], float]
    many: Callable[[Array], Array]


class LinearFastPath:
    """The linear fast path: a linear version's prediction as a sum of products and a link.

    It takes a microsecond where ONNX Runtime takes twenty, and is used only if loading finds it equal to the session.
    """

    def __init__(self, linear: Linear, link: Link) -> None:
        self._weights = linear.coefficients / linear.scales
        self._list: list[float] = self._weights.tolist()
        self._offset = linear.intercept - math.fsum((linear.means * self._weights).tolist())
        self.link = link

    def __call__(self, row: Sequence[float]) -> float:
        """The prediction of finite numbers, one for each column."""
        return self.link.one(sum(map(operator.mul, row, self._list), self._offset))

    def many(self, rows: Array) -> Array:
        """Predictions of shape (rows,) for finite rows of shape (rows, columns)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.link.many(rows @ self._weights + self._offset)


def logistic(score: float) -> float:
    """1 / (1 + exp(-score)), without overflow."""
    if score >= 0:
        return 1.0 / (1.0 + math.exp(-score))
    odds = math.exp(score)
    return odds / (1.0 + odds)


def clipped(score: float) -> float:
    """The score, clipped to [0, 1]; NaN stays NaN."""
    return score if math.isnan(score) else min(1.0, max(0.0, score))


LINKS = (
    Link(logistic, lambda scores: 1.0 / (1.0 + np.exp(-scores))),
    Link(clipped, lambda scores: np.clip(scores, 0.0, 1.0)),
    Link(lambda score: score, lambda scores: scores),
)
# The largest distance, on any of the probes, between the fast path and the session. Both add the same thirty or so
# products in float64; the publishing gate lets the model itself be 1e-9 from the estimator.
FAST_PATH_TOLERANCE = 1e-12
_PROBES = 256


def _probes(minimum: Array, maximum: Array) -> Array:
    """Rows to compare the fast path and the session on, shape (rows, columns).

    They are in the training range, around it, and far outside, where a link that clips or saturates shows; in some each
    feature alone is at its ends, and one is the middle. Of more features than `_PROBES`, some are at their ends
    together: the memory that this takes is proportional to their number, not to its square.
    """
    middle, reach = minimum / 2 + maximum / 2, maximum / 2 - minimum / 2
    draws = np.random.default_rng(0).uniform(-1, 1, (_PROBES, len(middle)))
    spread = np.geomspace(1, 100, _PROBES).reshape(-1, 1)
    groups = np.arange(len(middle)) % _PROBES
    alone = np.where(np.arange(min(_PROBES, len(middle))).reshape(-1, 1) == groups, reach, 0.0)
    corners = np.concatenate([alone, -alone])
    return np.concatenate([middle + reach * draws * spread, middle + corners, middle.reshape(1, -1)])


def _seconds(call: Callable[[Array], object], rows: Array) -> float:
    started = perf_counter()
    call(rows)
    return perf_counter() - started


def is_scalar(signature: Signature, session: onnxruntime.InferenceSession) -> bool:
    """Whether `Model` serves this: floats in and one number out, unless the graph has an input for each of them."""
    named = {node.name for node in session.get_inputs()} == {each.name for each in signature.inputs}
    return signature.is_scalar and signature.primary == OUTPUT and not named


def _input_dtype(session: onnxruntime.InferenceSession, width: int) -> type[np.floating[Any]]:
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = [node.name for node in session.get_outputs()]
    node = inputs.get(INPUT)
    if list(inputs) != [INPUT] or OUTPUT not in outputs or node is None or node.type not in _FLOATS:
        raise LoadFailed(f"model.onnx must have one float input {INPUT!r} and an output {OUTPUT!r}.")
    if len(node.shape) != 2 or node.shape[1] != width:
        raise LoadFailed(f"model.onnx takes rows of {node.shape[1:]}, the manifest names {width} features.")
    return _FLOATS[node.type]


def check_reference(data: bytes) -> None:
    """Check that reference.json can be read; predictions do not need it, and monitoring does.

    Raises:
        LoadFailed: it cannot.
    """
    try:
        references.decode(data)
    except InvalidReference as error:
        raise LoadFailed(str(error)) from error


def _linear(data: bytes, width: int) -> Linear | None:
    try:
        params = states.linear_params(states.decode(data), width)
    except InvalidState as error:
        raise LoadFailed(str(error)) from error
    if params is None:
        return None
    return Linear(np.array(params.means), np.array(params.scales), np.array(params.coefficients), params.intercept)
