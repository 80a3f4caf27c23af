"""A model of any signature: a batch in, an array for each output out. Knows no protocol.

`Model` is the same for the scalar signature, floats in and one number out, and has its fast path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sabia.contract.manifest import Manifest
from sabia.contract.signature import Input, Output, Signature
from sabia.registry.verification import Artifact
from sabia.serving.errors import InvalidInput, LoadFailed, ModelFailed, quote
from sabia.serving.explanations.explainer import TreeExplainer
from sabia.serving.inference.batch import NUMPY, Batch, Column, from_columns
from sabia.serving.inference.counting import Counter, Digest, outside_range
from sabia.serving.inference.model import LARGEST, Model
from sabia.serving.inference.session import Outputs, Session
from sabia.serving.inference.texts import Texts

# Lengths that are tried at loading for a dimension of any length; a convolution may need many.
_FREE_LENGTHS = (1, 32, 224)
# Rows that are timed at loading to learn what a row costs, unless one takes longer than this.
_TIMED_ROWS = 64
_QUICK_SECONDS = 0.001
# Lengths of free dimensions that are remembered as ones that the graph takes.
_MOST_LENGTHS = 1024


class TypedModel:
    """One version, ready to predict.

    Attributes:
        inputs: by name, in the order of the signature.
        names: those of the inputs.
        primary: the primary output.
        bin_count: the number of its bins.
        texts: the categories of each input of strings that has some.
        content_digest: of the version's files.
        explainer: explains predictions, where the methods are trees.
    """

    has_fast_path = False

    def __init__(self, artifact: Artifact, session: onnxruntime.InferenceSession) -> None:
        self.manifest = manifest = artifact.manifest
        self.signature = signature = manifest.signature
        self.name, self.version, self.content_digest = manifest.name, manifest.version, manifest.digest
        self.bin_count = len(signature.bins)
        self.inputs = {each.name: each for each in signature.inputs}
        self.names = tuple(self.inputs)
        self.outputs = {each.name: each for each in signature.outputs}
        self.primary = signature.primary_output
        self._session = Session(signature, session)
        self._counter = Counter(signature)
        strings = [each for each in signature.inputs if each.categories and each.dtype == "string"]
        self.texts = {each.name: Texts(map(str, each.categories or ())) for each in strings}
        self._finite = [each.name for each in signature.outputs if each.role not in ("label", "opaque")]
        self._largest = {each.name: largest_of(each) for each in signature.inputs if each.is_float}
        self._checked = [each for each in signature.inputs if each.is_float or each.strict]
        self._free = [each for each in signature.inputs if None in each.shape[1:]]
        self._lengths: set[tuple[tuple[int, ...], ...]] = set()
        self._call_cost, self._row_cost = self._smoke_test()
        self.explainer = TreeExplainer(artifact, self._session.feeds, self._run)

    def predict(self, rows: Batch | Mapping[str, Any]) -> Outputs:
        """The outputs of a batch, or of columns by input name; each of shape (rows, ...).

        Raises:
            InvalidInput: a value is not one that the signature allows, or the graph fails on a value that the training
                rows do not have.
            ModelFailed: the graph fails on any other, or returns something that is not a number.
        """
        batch = rows if isinstance(rows, Batch) else from_columns(self.signature.inputs, rows)
        for each in self._checked:
            self._check(each, batch)
        try:
            outputs = self._run(batch)
        except ModelFailed:
            self._blame(batch)
            raise
        if self._free and len(self._lengths) < _MOST_LENGTHS:
            self._lengths.add(self._lengths_of(batch))
        return outputs

    def _run(self, batch: Batch) -> Outputs:
        outputs = self._session.run(batch)
        for name in self._finite:
            values = outputs[name]
            if not (math.isfinite(values.item()) if values.size == 1 else np.isfinite(values).all()):
                raise ModelFailed
        return outputs

    def expected_seconds(self, rows: int) -> float:
        """The expected duration of `predict` for this many rows, by its recent durations."""
        return self._call_cost + rows * self._row_cost

    def record_duration(self, rows: int, seconds: float) -> None:
        """Learn from the duration of one `predict`: at once when it is slower, gradually when it is faster again."""
        cost = max(0.0, seconds - self._call_cost) / rows
        self._row_cost = cost if cost > self._row_cost else 0.9 * self._row_cost + 0.1 * cost

    def digest(self, batch: Batch, outputs: Outputs) -> Digest:
        """Count a batch and its outputs."""
        return self._counter.digest(batch, outputs)

    def example(self, rows: int = 1, free_length: int = 1) -> Batch:
        """Rows from the middle of the training rows' range; a dimension of any length gets `free_length`."""
        columns = {}
        for each in self.signature.inputs:
            shape = (rows, *(length or free_length for length in each.shape[1:]))
            columns[each.name] = np.full(shape, _middle(each), dtype=NUMPY[each.dtype])
        return Batch(rows, columns)

    def _check(self, each: Input, batch: Batch) -> None:
        column = batch.columns[each.name]
        if each.is_float:
            self._check_floats(each, column)
        if each.strict:
            unknown = self._counter.unknown(each, batch)
            if unknown is not None and unknown.any():
                at = int(np.argwhere(unknown)[0][0])
                value = column[unknown].ravel()[0]
                raise InvalidInput(_place(at, each), f"is {quote(value)}, which is not one of its categories")

    def _check_floats(self, each: Input, column: Column) -> None:
        largest = self._largest[each.name]
        if column.size == 1:  # without what numpy does for many
            if -largest <= column.item() <= largest:
                return
        # NaN compares as false, so it fails here as well.
        elif not column.size or (column.max() <= largest and column.min() >= -largest):
            return
        wrong = ~(np.abs(column) <= largest)
        if each.nullable:
            wrong &= ~np.isnan(column)
        if wrong.any():
            at = int(np.argwhere(wrong)[0][0])
            problem = f"is larger than {largest:.3g}" if np.isfinite(column[wrong][0]) else "is not a finite number"
            raise InvalidInput(_place(at, each), problem)

    def _lengths_of(self, batch: Batch) -> tuple[tuple[int, ...], ...]:
        return tuple(batch.columns[each.name].shape[1:] for each in self._free)

    def _blame(self, batch: Batch) -> None:
        """Raise InvalidInput if the graph failed on a value that the training rows do not have."""
        for each in self.signature.inputs:
            column = batch.columns[each.name]
            masks = [outside_range(each, column), self._counter.unknown(each, batch)]
            for mask, problem in zip(masks, ("is outside its range", "is not one of its categories"), strict=True):
                if mask is not None and mask.any():
                    at = int(np.argwhere(mask)[0][0])
                    raise InvalidInput(_place(at, each), f"{problem}, and the model fails on it")
        if self._free and self._lengths and self._lengths_of(batch) not in self._lengths:
            shape = list(batch.columns[self._free[0].name].shape)
            raise InvalidInput(f'input "{self._free[0].name}"', f"has the shape {shape}, on which the model fails")

    def _smoke_test(self) -> tuple[float, float]:
        """Predict an example alone and beside its like; returns seconds for a call, and for each row."""
        run = self._run
        for length in _FREE_LENGTHS if self._free else _FREE_LENGTHS[:1]:
            batch = self.example(free_length=length)
            try:
                alone, together = run(batch), run(self.example(2, length))
            except ModelFailed:
                continue
            break
        else:
            raise LoadFailed("the model fails on a row from the middle of its training range.")
        if not all(_same(each, alone[each.name][0], together[each.name][0]) for each in self.signature.outputs):
            raise LoadFailed("the model predicts differently for a row alone and among others.")
        if self._free:
            self._lengths.add(self._lengths_of(batch))
        one = min(_seconds(run, batch) for _ in range(3))
        if one > _QUICK_SECONDS:
            return 0.0, one
        many = self.example(_TIMED_ROWS, length)
        all_rows = min(_seconds(run, many) for _ in range(3))
        return one, max(0.0, all_rows - one) / _TIMED_ROWS


class Loaded(Protocol):
    """What both kinds of models have; what `predict` takes and returns is the signature's matter."""

    name: str
    version: str
    content_digest: str
    signature: Signature
    manifest: Manifest
    names: tuple[str, ...]

    def predict(self, rows: Any) -> Any:
        """Predict rows."""


# Either kind of model; `Model` has the fast path of a scalar signature.
Served = Model | TypedModel


def largest_of(each: Input) -> float:
    """The largest absolute value of a float input: of a scalar so that no arithmetic overflows, else what is finite."""
    largest = float(np.finfo(NUMPY[each.dtype]).max)
    return min(LARGEST, largest / 2) if each.is_scalar else largest


def _place(row: int, each: Input) -> str:
    return f'row {row}, input "{each.name}"'


def _middle(each: Input) -> object:
    if each.categories:
        return each.categories[0]
    if each.dtype in ("string", "bytes"):
        text = each.fill if isinstance(each.fill, str) else ""
        return text if each.dtype == "string" else text.encode()
    if each.minimum is None or each.maximum is None:
        return each.fill if isinstance(each.fill, int) else 0
    middle = each.minimum / 2 + each.maximum / 2
    return middle if each.is_float else round(middle)


def _same(output: Output, one: NDArray[np.generic], other: NDArray[np.generic]) -> bool:
    if output.dtype in ("float64", "float32"):
        # Products of another number of rows may be added in another order.
        return bool(np.allclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True))
    return bool(np.array_equal(one, other))


def _seconds(call: Callable[[Batch], object], batch: Batch) -> float:
    started = perf_counter()
    call(batch)
    return perf_counter() - started
