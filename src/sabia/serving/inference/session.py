"""A session of ONNX Runtime behind a signature: a batch in, an array for each output out.

Two forms of graphs are read. Matrix: every input is one float, and the graph's only input is `features`, of shape
[rows, inputs]. Named: the graph has one input for each of the signature's, called as it, of shape [rows, 1] or [rows]
where the signature has one value in a row. The outputs are called as the signature's; the graph may have more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sabia import runtime
from sabia.contract.signature import Input, Output, Signature
from sabia.contract.tensors import INPUT
from sabia.serving.errors import InvalidInput, LoadFailed, ModelFailed
from sabia.serving.inference.batch import NUMPY, Batch, Column

Outputs = dict[str, Column]

_TYPES: dict[str, np.dtype[Any]] = {
    "tensor(double)": np.dtype(np.float64),
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int16)": np.dtype(np.int16),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(uint64)": np.dtype(np.uint64),
    "tensor(uint32)": np.dtype(np.uint32),
    "tensor(uint16)": np.dtype(np.uint16),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(string)": np.dtype(object),
}
# The kinds of numpy's dtypes in which a graph may hold each dtype.
_KINDS = {
    "float64": "f",
    "float32": "f",
    "int64": "iu",
    "bool": "b",
    "string": "O",
    "bytes": "O",
    "timestamp": "iu",
}


def open_session(model: bytes | Path, *, prepack: bool = True) -> onnxruntime.InferenceSession:
    """Open a model on one thread; `prepack` as in the manifest's runtime.

    Raises:
        LoadFailed: ONNX Runtime cannot load it.
    """
    try:
        # One row is microseconds of work; a pool of threads would cost more than it saves, and fight other workers.
        return runtime.open_session(model, threads=1, prepack=prepack)
    except Exception as error:  # ONNX Runtime's classes have no common base of their own
        raise LoadFailed("model.onnx is not a model that ONNX Runtime can load.") from error


class Session:
    """One graph, and how a batch becomes what it is fed with.

    Attributes:
        matrix: the precision of the graph's one input of the matrix form; None for the named form.
    """

    def __init__(self, signature: Signature, session: onnxruntime.InferenceSession) -> None:
        self._signature = signature
        self._session = session
        nodes = {node.name: node for node in self._session.get_inputs()}
        self.matrix = _matrix_dtype(signature.inputs, nodes)
        self._inputs = [] if self.matrix else [_InputNode(each, nodes) for each in signature.inputs]
        if not self.matrix:
            _check_unclaimed(signature.inputs, nodes)
        self._one_by_one = any(node.shape and node.shape[0] == 1 for node in nodes.values())
        found = {node.name: node for node in self._session.get_outputs()}
        self._outputs = [_checked_output(each, found) for each in signature.outputs]
        self._names = [each.name for each in signature.outputs]

    def run(self, batch: Batch) -> Outputs:
        """The outputs, each of shape (rows, ...) and of the signature's dtype.

        Raises:
            InvalidInput: a row has bytes that ONNX Runtime cannot be given.
            ModelFailed: the graph raised, or returned something that the signature does not say.
        """
        batches = self._fed_together(batch)
        if len(batches) == 1:
            return self._run(batch)
        parts = [self._run(each) for each in batches]
        try:
            return {name: np.concatenate([part[name] for part in parts]) for name in self._names}
        except ValueError as error:
            raise ModelFailed from error

    def feeds(self, batch: Batch) -> list[dict[str, NDArray[Any]]]:
        """What the graph is fed with for a batch, in one run or in one for each row."""
        return [self._feed(each) for each in self._fed_together(batch)]

    def _fed_together(self, batch: Batch) -> list[Batch]:
        raw = any(node.has_raw_bytes(batch) for node in self._inputs if node.each.dtype == "bytes")
        if len(batch) > 1 and (self._one_by_one or raw):
            return [batch.part(at, at + 1) for at in range(len(batch))]
        return [batch]

    def _run(self, batch: Batch) -> Outputs:
        feed = self._feed(batch)
        try:
            values = self._session.run(self._names, feed)
        except Exception as error:  # its own classes, and RuntimeError, for whatever a graph meets
            raise ModelFailed from error
        return {
            each.name: as_declared(each, value, len(batch)) for each, value in zip(self._outputs, values, strict=True)
        }

    def _feed(self, batch: Batch) -> dict[str, NDArray[Any]]:
        if self.matrix is None:
            return {node.each.name: node.values(batch.columns[node.each.name]) for node in self._inputs}
        if batch.matrix is not None:
            return {INPUT: batch.matrix.astype(self.matrix, copy=False)}
        rows = np.empty((len(batch), len(self._signature.inputs)), dtype=self.matrix)
        for at, each in enumerate(self._signature.inputs):
            rows[:, at] = batch.columns[each.name]
        return {INPUT: rows}


class _InputNode:
    """One input of the signature, and the graph's input of its name."""

    def __init__(self, each: Input, nodes: dict[str, Any]) -> None:
        node = nodes.get(each.name)
        if node is None:
            raise LoadFailed(f"model.onnx has no input {each.name!r}.")
        self.each = each
        self.dtype = _TYPES.get(node.type, np.dtype(np.void))
        if self.dtype.kind not in _KINDS[each.dtype]:
            raise LoadFailed(f"input {each.name!r} is {each.dtype}, and {node.type} in model.onnx.")
        ranks = (1, 2) if each.is_scalar else (len(each.shape),)
        shape = node.shape
        lengths = shape[1:] if shape else []
        declared = [1] if each.is_scalar else each.shape[1:]
        fits = all(
            not isinstance(length, int) or known is None or length == known
            for length, known in zip(lengths, declared, strict=False)
        )
        if len(shape) not in ranks or not fits:
            raise LoadFailed(f"input {each.name!r} has the shape {each.shape}, and {shape} in model.onnx.")
        self.is_column = each.is_scalar and len(shape) == 2

    def has_raw_bytes(self, batch: Batch) -> bool:
        """Whether a value is not UTF-8: only alone can ONNX Runtime be given it."""
        return any(not _is_text(value) for value in batch.columns[self.each.name].ravel())

    def values(self, column: Column) -> NDArray[Any]:
        """A column as the graph takes it."""
        if self.each.dtype == "bytes":
            column = _strings(column)
        elif self.dtype.kind != "O":
            column = column.astype(self.dtype, copy=False)
        return column.reshape(len(column), 1) if self.is_column else column


def _matrix_dtype(inputs: list[Input], nodes: dict[str, Any]) -> np.dtype[Any] | None:
    node = nodes.get(INPUT)
    scalars = all(each.is_float and each.is_scalar for each in inputs) and inputs[0].name != INPUT
    if list(nodes) != [INPUT] or node is None or not scalars:
        return None
    dtype = _TYPES.get(node.type)
    if dtype not in (np.float64, np.float32):
        raise LoadFailed(f"input {INPUT!r} of model.onnx is {node.type}; float or double is needed.")
    if len(node.shape) != 2 or (isinstance(node.shape[1], int) and node.shape[1] != len(inputs)):
        raise LoadFailed(f"model.onnx takes rows of {node.shape[1:]}, the manifest names {len(inputs)} inputs.")
    return dtype


def _check_unclaimed(inputs: list[Input], nodes: dict[str, Any]) -> None:
    unclaimed = sorted(nodes.keys() - {each.name for each in inputs})
    if unclaimed:
        raise LoadFailed(f"model.onnx has an input {unclaimed[0]!r} that the manifest does not name.")


def _checked_output(each: Output, nodes: dict[str, Any]) -> Output:
    node = nodes.get(each.name)
    if node is None:
        raise LoadFailed(f"model.onnx has no output {each.name!r}.")
    dtype = _TYPES.get(node.type)
    if dtype is None:
        raise LoadFailed(f"output {each.name!r} of model.onnx is {node.type}; a tensor is needed.")
    textual = each.dtype in ("string", "bytes")
    if (dtype.kind == "O") != textual:
        raise LoadFailed(f"output {each.name!r} is {each.dtype}, and {node.type} in model.onnx.")
    return each


def as_declared(each: Output, value: object, rows: int) -> Column:
    """An output's values in the declared dtype and shape.

    Raises:
        ModelFailed: they do not have it.
    """
    array = np.asarray(value)
    if len(each.shape) == 1 and array.shape == (rows, 1):
        array = array.reshape(rows)
    fits = array.ndim == len(each.shape) and array.shape[0] == rows
    if not fits or any(known not in (None, length) for known, length in zip(each.shape, array.shape, strict=True)):
        raise ModelFailed
    if each.dtype == "bytes":
        encoded = np.empty(array.size, dtype=object)
        encoded[:] = [str(text).encode() for text in array.ravel()]
        return encoded.reshape(array.shape)
    return array.astype(NUMPY[each.dtype], copy=False)


def _is_text(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _strings(column: Column) -> NDArray[Any]:
    """Bytes as ONNX Runtime takes them: as text where they are UTF-8, else as values of one width."""
    values = column.ravel().tolist()
    if not all(map(_is_text, values)):
        widths = {len(value) for value in values}
        if len(widths) != 1:
            raise InvalidInput("A row", "has bytes that are neither UTF-8 nor of one length")
        return np.frombuffer(b"".join(values), dtype=f"V{widths.pop()}").reshape(column.shape)
    texts = np.empty(len(values), dtype=object)
    texts[:] = [value.decode() for value in values]
    return texts.reshape(column.shape)
