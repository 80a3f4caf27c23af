"""What the log keeps of rows of any signature: an array for each column, with long and hashed values as digests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sabia.contract.inferencelog import InputColumn, Type, digest, input_columns, prediction_columns
from sabia.contract.signature import Input, Output, Signature
from sabia.serving.inference.batch import Batch

Column = NDArray[Any]
Mask = NDArray[np.bool_]

# An object of Python beside its characters.
_OBJECT_BYTES = 57
# Columns that `prediction` redacts.
PREDICTION = ("prediction", "predicted_class", "scores", "prediction_digest")


@dataclass(frozen=True, slots=True)
class Values:
    """Some rows by column of the log.

    Attributes:
        columns: shape (rows,), or (rows, length) of a list. Text, and digests, are objects, and None is null.
        nulls: of columns with a null that their array cannot have: which rows, shape (rows,).
    """

    rows: int
    columns: dict[str, Column]
    nulls: dict[str, Mask] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.rows

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return sum(_nbytes(column) for column in self.columns.values())

    def take(self, places: Sequence[int]) -> Self:
        """The rows at these places."""
        return type(self)(
            len(places),
            {name: column[places] for name, column in self.columns.items()},
            {name: mask[places] for name, mask in self.nulls.items()},
        )

    def part(self, rows: slice) -> Self:
        """Some of the rows; nothing is copied."""
        return type(self)(
            len(range(*rows.indices(self.rows))),
            {name: column[rows] for name, column in self.columns.items()},
            {name: mask[rows] for name, mask in self.nulls.items()},
        )


class ValuesOf:
    """Makes the values of rows and their outputs. Callable from any thread.

    Args:
        redacted: inputs that stay empty, and `prediction`.
    """

    def __init__(self, signature: Signature, redacted: Collection[str] = ()) -> None:
        inputs = {each.name: each for each in signature.inputs}
        self._inputs = [
            (inputs[name], column) for name, column in input_columns(signature.inputs).items() if name not in redacted
        ]
        self._outputs = [] if "prediction" in redacted else list(_output_columns(signature).items())

    def __call__(self, batch: Batch, outputs: Mapping[str, Column]) -> Values:
        """The values of rows; nothing of the request is referenced."""
        columns, nulls = {}, {}
        for each, column in self._inputs:
            missing = batch.missing(each) if each.nullable else None
            if missing is not None and not missing.any():
                missing = None
            columns[column.name] = _input_values(each, column, batch.columns[each.name], missing)
            if missing is not None:
                nulls[column.name] = missing
        for name, values_of in self._outputs:
            columns[name] = values_of(outputs)
        return Values(len(batch), columns, nulls)


def _input_values(each: Input, column: InputColumn, values: Column, missing: Mask | None) -> Column:
    if column.digest:
        return _digests(each.dtype, values, missing)
    if column.type is Type.DOUBLES:
        return values.reshape(len(values), -1).astype(np.float64)
    return values.copy()


def _digests(dtype: str, values: Column, missing: Mask | None = None) -> Column:
    digests = np.empty(len(values), dtype=object)
    if values.ndim == 1 and values.dtype.kind == "f":
        # A number has one digest, whatever precision the model reads it in.
        values = values.astype(np.float64)
    for at, value in enumerate(values):
        if missing is None or not missing[at]:
            digests[at] = digest(_without_bytes(value) if dtype == "bytes" else _hashable(value))
    return digests


def _hashable(value: Any) -> str | bytes | Column:
    return value if isinstance(value, (str, bytes)) else np.asarray(value)


def _without_bytes(value: Any) -> str | bytes | Column:
    """Bytes, or an array of them as one of text: JSON has no bytes."""
    if isinstance(value, bytes):
        return value
    texts = np.empty(value.shape, dtype=object)
    texts.ravel()[:] = [each.hex() for each in value.ravel()]
    return texts


def _output_columns(signature: Signature) -> dict[str, Callable[[Mapping[str, Column]], Column]]:
    """What makes each column of the log that has a prediction."""
    held = prediction_columns(signature)
    outputs = {each.name: each for each in signature.outputs}
    columns: dict[str, Callable[[Mapping[str, Column]], Column]] = {}
    if held.prediction is not None:
        columns["prediction"] = _numbers(held.prediction)
    if held.predicted_class is not None:
        columns["predicted_class"] = _classes(held.predicted_class)
    if held.scores:
        columns["scores"] = _scores(held.scores)
    if held.digest is not None:
        columns["prediction_digest"] = _output_digests(outputs[held.digest])
    return columns


def _numbers(name: str) -> Callable[[Mapping[str, Column]], Column]:
    return lambda outputs: outputs[name].astype(np.float64)


def _classes(name: str) -> Callable[[Mapping[str, Column]], Column]:
    return lambda outputs: np.array([class_name(value) for value in outputs[name].tolist()], dtype=object)


def class_name(value: object) -> str:
    """The name of a class, as the log and labels have it."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return str(int(value)) if isinstance(value, bool) else str(value)


def _scores(names: Sequence[str]) -> Callable[[Mapping[str, Column]], Column]:
    if len(names) > 1:
        return lambda outputs: np.stack([outputs[name] for name in names], axis=1).astype(np.float32)
    return lambda outputs: outputs[names[0]].reshape(len(outputs[names[0]]), -1).astype(np.float32)


def _output_digests(output: Output) -> Callable[[Mapping[str, Column]], Column]:
    return lambda outputs: _digests(output.dtype, outputs[output.name])


def _nbytes(column: Column) -> int:
    if column.dtype.kind != "O":
        return column.nbytes
    texts = [value for value in column.tolist() if value is not None]
    return column.nbytes + _OBJECT_BYTES * len(texts) + len("".join(texts))
