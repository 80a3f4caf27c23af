"""What the server records of a call to a model's code: counts by the signature, and values for the inference log.

With a signature, the rows of a request and of its response are read by it, as a version's are; of an `ArtifactModel`
they are those that the artifact was asked and answered. Without one, each row is kept as JSON. What cannot be read is
null in the log and not counted: the code decides what it answers.

Everything but `values_of` happens in the process of the model.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from hashlib import sha256
from typing import Any

import msgspec
import numpy as np

from sabia.contract.inferencelog import digest, input_columns, prediction_columns
from sabia.contract.signature import Bins, Input, Output, Signature
from sabia.contract.tensors import OUTPUT
from sabia.serving.custom import frames
from sabia.serving.custom.frames import Call, Column, Observed
from sabia.serving.http.messages import Request
from sabia.serving.inference.batch import Batch, from_matrix, joined
from sabia.serving.inference.counting import Counter
from sabia.serving.log.values import Values, ValuesOf, class_name
from sabia.serving.protocols import grpctensors, headers, typedrows, typedtensors, v2

logger = logging.getLogger("sabia.predictor")

# Of code without a signature: one column for what each row was, and one bin for everything.
INSTANCE = "instance"
BARE = Signature(
    inputs=[Input(name=INSTANCE, dtype="string")],
    outputs=[Output(name=OUTPUT, dtype="float64", role="value")],
    primary=OUTPUT,
    bins=Bins(kind="none"),
)
# A longer row, in bytes of JSON or in values of tensors, is kept as its digest.
_LONGEST, _MOST_VALUES = 4096, 1024
_DTYPES = ("float64", "float32", "int64", "bool", "object")

# What an artifact was asked and answered during this call: rows and outputs, as its model has them.
asked: ContextVar[list[tuple[Any, Any]] | None] = ContextVar("asked", default=None)


class Observer:
    """Observes the calls to one model.

    Args:
        signature: of its requests and responses; None for code that declares none.
        is_artifact: whether the model notes itself, in `asked`, what it predicts.
    """

    def __init__(self, name: str, signature: Signature | None, *, is_artifact: bool = False) -> None:
        self._name, self._is_artifact = name, is_artifact
        self._typed = _Typed(signature) if signature is not None else None
        self._warned: set[str] = set()

    def before(self, call: Call, payload: Any) -> Any:
        """Note a request before the model, which may change it, gets it."""
        if self._is_artifact:
            noted: list[tuple[Any, Any]] = []
            asked.set(noted)
            return noted
        try:
            if self._typed is not None:
                return self._typed.batch(call, payload)
            return _instances(payload) if call.keep else None
        except Exception as error:  # noqa: BLE001  the code may answer what a signature does not know
            self._warn("a request", error)
            return None

    def observed(self, call: Call, known: Any, result: Any) -> Observed:
        """The record of a call that the model has answered."""
        if self._typed is None:
            return _bare(known, result, keep=call.keep)
        batch, outputs = known, {}
        try:
            if self._is_artifact:
                batch, outputs = self._typed.joined(known) if known else (None, {})
            if not outputs:
                outputs = self._typed.outputs(result)
        except Exception as error:  # noqa: BLE001  as above
            self._warn("a response", error)
        counts = {len(each) for each in (*([] if batch is None else [batch]), *outputs.values())}
        if len(counts) > 1:
            self._warn("a response", ValueError("its number of rows differs from its request's"))
            outputs = {}
        return self._typed.observed(batch, outputs, keep=call.keep)

    def _warn(self, what: str, error: Exception) -> None:
        """Warn once of each kind."""
        if what not in self._warned:
            self._warned.add(what)
            logger.warning(
                "model %s: %s does not fit the signature, and is logged without values: %s", self._name, what, error
            )


class _Typed:
    """Reads requests and responses by a signature."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._counter, self._values_of = Counter(signature), ValuesOf(signature)
        self._inputs = {each.name: each for each in signature.inputs}
        self._answers = {each.name: typedrows.as_input(each) for each in signature.outputs}
        held = prediction_columns(signature)
        self._columns: dict[str, list[str | None]] = {
            "prediction": [held.prediction],
            "predicted_class": [held.predicted_class],
            "scores": list(held.scores),
            "prediction_digest": [held.digest],
        }

    def batch(self, call: Call, payload: Any) -> Batch:
        """The rows of a request."""
        if call.kind == frames.V1:
            return typedrows.read(payload, self._signature)
        if call.kind == frames.GRPC:
            from sabia.serving.protocols import messages  # noqa: PLC0415  a tenth of a second that HTTP need not wait

            inputs, tail = grpctensors.tensors(messages.ModelInferRequest.FromString(call.body))
            return typedtensors.read(inputs, memoryview(tail), self._signature)
        infer, rest = v2.decode(call.body, headers.json_length(Request(b"POST", b"", call.headers, b"", 0.0)))
        return typedtensors.read(infer.inputs, rest, self._signature)

    def joined(self, noted: Sequence[tuple[Any, Any]]) -> tuple[Batch, dict[str, Any]]:
        """The rows that an artifact was asked, and its outputs."""
        signature = self._signature
        batches = [rows if isinstance(rows, Batch) else from_matrix(signature.inputs, rows) for rows, _ in noted]
        outputs = [each if isinstance(each, Mapping) else {signature.primary: each} for _, each in noted]
        return joined(batches), {name: np.concatenate([each[name] for each in outputs]) for name in outputs[0]}

    def outputs(self, result: Any) -> dict[str, Any]:
        """The outputs that a response has, by name."""
        if isinstance(result, Mapping) and "predictions" in result:
            return typedrows.read_predictions(_plain(result["predictions"]), self._signature)
        tensors = _tensors(result)
        found = {}
        for name, each in self._answers.items():
            tensor = tensors.get(name) or (tensors.get(OUTPUT) if name == self._signature.primary else None)
            if tensor is not None:
                shape, datatype, data = tensor
                given = v2.Input(name, shape, "FP32" if datatype == "FP16" else datatype, _plain(data))
                alone = msgspec.structs.replace(self._signature, inputs=[each])
                found[name] = typedtensors.read([given], memoryview(b""), alone).columns[name]
        if not found:
            raise ValueError("it has none of the outputs")
        return found

    def observed(self, batch: Batch | None, outputs: Mapping[str, Any], *, keep: bool) -> Observed:
        """The counts, and the values, with nulls where they are unknown."""
        rows = len(batch) if batch is not None else len(next(iter(outputs.values()), [None]))
        counted = self._counter.digest(batch, outputs)
        counts = tuple(each.tolist() for each in (counted.bins, counted.outside, counted.unknown, counted.missing))
        if not keep:
            return Observed(rows, counts)
        whole = {
            name: outputs[name] if name in outputs else typedrows.absent(each, rows)[0]
            for name, each in self._answers.items()
        }
        values = self._values_of(batch or self._empty(rows), whole)
        unknown = {name for name, needed in self._columns.items() if not all(each in outputs for each in needed)}
        if batch is None:
            unknown |= {column.name for column in input_columns(self._signature.inputs).values()}
        nothing = np.ones(rows, dtype=np.bool_)
        nulls = values.nulls | dict.fromkeys(unknown & values.columns.keys(), nothing)
        return Observed(rows, counts, _sent(values.columns, nulls))

    def _empty(self, rows: int) -> Batch:
        return Batch(rows, {name: typedrows.absent(each, rows)[0] for name, each in self._inputs.items()})


def values_of(observed: Observed) -> Values:
    """The values for the log, as the server reads them.

    Raises:
        ValueError: they are not what this module makes.
    """
    columns, nulls = {}, {}
    for name, column in (observed.columns or {}).items():
        if column.dtype not in _DTYPES:
            raise ValueError(column.dtype)
        if column.dtype == "object":
            values = np.empty(len(column.values), dtype=object)
            values[:] = column.values
        else:
            values = np.frombuffer(column.values, dtype=column.dtype).reshape(column.shape)  # type: ignore[arg-type]  # bytes
        if len(values) != observed.rows:
            raise ValueError(name)
        columns[name] = values
        if column.nulls:
            nulls[name] = np.frombuffer(column.nulls, dtype=np.bool_)
    return Values(observed.rows, columns, nulls)


def _sent(columns: Mapping[str, Any], nulls: Mapping[str, Any]) -> dict[str, Column]:
    sent = {}
    for name, values in columns.items():
        mask = nulls[name].tobytes() if name in nulls else b""
        if values.dtype.kind == "O":
            sent[name] = Column("object", [len(values)], values.tolist(), mask)
        else:
            sent[name] = Column(values.dtype.name, list(values.shape), values.tobytes(), mask)
    return sent


def _bare(instances: list[str] | None, result: Any, *, keep: bool) -> Observed:
    """The record of code without a signature: its rows as JSON, and its predictions by their type."""
    predictions = _predictions(result)
    rows = len(predictions)
    if not keep:
        return Observed(rows, ([rows], [0], [0], [0]))
    numbers, missing = np.full(rows, np.nan), np.ones(rows, dtype=np.bool_)
    classes, digests = np.empty(rows, dtype=object), np.empty(rows, dtype=object)
    for at, each in enumerate(predictions):
        if isinstance(each, int | float) and not isinstance(each, bool):
            numbers[at], missing[at] = float(each), False
        elif isinstance(each, str | bool):
            classes[at] = class_name(each)
        elif each is not None:
            digests[at] = digest(_json(each))
    texts = np.empty(rows, dtype=object)
    if instances is not None and len(instances) == rows:
        texts[:] = instances
    columns = {INSTANCE: texts, "prediction": numbers, "predicted_class": classes, "prediction_digest": digests}
    return Observed(rows, ([rows], [0], [0], [0]), _sent(columns, {"prediction": missing}))


def _predictions(result: Any) -> list[Any]:
    """The prediction of each row; a single null where the result has none."""
    if isinstance(result, Mapping) and "predictions" in result:
        values = _plain(result["predictions"])
    else:
        tensors = _tensors(result)
        if not tensors:
            return [None]
        shape, _, data = tensors.get(OUTPUT) or next(iter(tensors.values()))
        flat = np.array(_plain(data), dtype=object).ravel()
        text = [each.decode(errors="replace") if isinstance(each, bytes) else each for each in flat.tolist()]
        rows = shape[0] if shape else len(text)
        width = len(text) // rows if rows > 0 else 0
        values = text if width == 1 else [text[at : at + width] for at in range(0, len(text), width or 1)]
    if not isinstance(values, list) or not values:
        return [None]
    return [each[0] if isinstance(each, list) and len(each) == 1 else each for each in values]


def _tensors(result: Any) -> dict[str, tuple[list[int], str, Any]]:
    """Shape, datatype and data of each tensor of V2: of a dictionary, or of an object of KServe's SDK."""
    return {each[0]: each[1:] for each in map(_tensor, _listed(result))}


def _listed(result: Any) -> list[Any]:
    for name in ("outputs", "inputs"):
        listed = result.get(name) if isinstance(result, Mapping) else getattr(result, name, None)
        if isinstance(listed, list):
            return listed
    return []


def _tensor(tensor: Any) -> tuple[str, list[int], str, Any]:
    if isinstance(tensor, Mapping):
        return tensor["name"], list(tensor["shape"]), tensor["datatype"], tensor.get("data")
    return tensor.name, list(tensor.shape), tensor.datatype, tensor.as_numpy()


def _instances(payload: Any) -> list[str]:
    """Each row of a request as JSON; the whole request where it has no rows."""
    if isinstance(payload, bytes | str):
        return [_short(payload if isinstance(payload, bytes) else payload.encode(), is_json=False)]
    if isinstance(payload, Mapping):
        for name in ("instances", "inputs"):
            rows = payload.get(name)
            if isinstance(rows, list) and not (rows and isinstance(rows[0], Mapping) and "datatype" in rows[0]):
                return [_short(_json(each)) for each in rows]
    tensors = _tensors(payload)
    if not tensors:
        return [_short(_json(payload))]
    arrays = {name: np.array(_plain(data), dtype=object).reshape(shape) for name, (shape, _, data) in tensors.items()}
    count = max(len(array) for array in arrays.values())
    arrays = {name: array for name, array in arrays.items() if len(array) == count}
    return [_short(_json({name: _row(array[at]) for name, array in arrays.items()})) for at in range(count)]


def _row(value: Any) -> Any:
    """A row of a tensor; of a long one its digest, of a row of one value that value."""
    if not isinstance(value, np.ndarray):
        return value.decode(errors="replace") if isinstance(value, bytes) else value
    if value.size > _MOST_VALUES:
        return {"sha256": digest(_json(value.tolist()))}
    flat = [_row(each) for each in value.ravel().tolist()]
    return flat[0] if len(flat) == 1 else flat


def _short(text: bytes, *, is_json: bool = True) -> str:
    if is_json and len(text) <= _LONGEST:
        return text.decode()
    return _json({"sha256": sha256(text).hexdigest()}).decode()


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=_plain_value)


def _plain(values: Any) -> Any:
    """Lists of Python's own values."""
    if hasattr(values, "tolist"):
        return values.tolist()
    if isinstance(values, list) and any(hasattr(each, "tolist") for each in values):
        return [_plain(each) for each in values]
    return values


def _plain_value(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
