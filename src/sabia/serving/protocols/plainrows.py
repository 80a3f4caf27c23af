"""V1 requests of plain rows for any signature without tensors: decoded straight into the types of the inputs.

The decoder refuses what is not exactly `{"instances": [...]}` with rows of those types; the slow parser then finds out
what it is. One row, as nearly every request has, becomes a batch without anything that is made for many.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import GenericAlias
from typing import Any

import msgspec
import numpy as np

from sabia.contract.signature import Input
from sabia.serving.http.messages import Request, Response
from sabia.serving.inference.batch import NUMPY, Batch, Column, Mask
from sabia.serving.inference.session import Outputs
from sabia.serving.inference.typed import TypedModel
from sabia.serving.protocols import cloudevents, headers, pieces, typedrows
from sabia.serving.protocols.jobs import Job
from sabia.serving.protocols.values import fill_of, parse_timestamp, read_cells

# Bytes are read by the slow parser: they are objects, as rows are.
_TYPES: dict[str, type] = {
    "float64": float,
    "float32": float,
    "int64": int,
    "bool": bool,
    "string": str,
    "timestamp": str,
}

_encode = msgspec.json.encode
MakeColumn = Callable[[Any], "tuple[Column, Mask | None]"]


class PlainRows:
    """Parses plain rows of one model's signature; see `readable`."""

    def __init__(self, model: TypedModel) -> None:
        self._inputs = model.signature.inputs
        self._names = model.names
        self._columns: list[MakeColumn] = [column_of(each) for each in self._inputs]
        self._decoder = msgspec.json.Decoder(_body(self._inputs))
        self._predictions = typedrows.writer(model.signature)

    @staticmethod
    def readable(model: TypedModel) -> bool:
        """Whether every input is one value of a type that JSON has."""
        return all(each.is_scalar and each.dtype in _TYPES for each in model.signature.inputs)

    def parse(self, request: Request, model: TypedModel) -> Job[Batch, Outputs] | None:
        """The request, if it is plain rows of few bytes; None is not an error."""
        del model
        if (
            len(request.body) > pieces.PIECE_BYTES
            or not headers.is_plain(request)
            or not cloudevents.REQUIRED.isdisjoint(request.headers)
        ):
            return None
        try:
            instances = self._decoder.decode(request.body).instances
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        batch = self._one(instances[0]) if len(instances) == 1 else self._many(instances)
        return None if batch is None else Job(batch, self._write)

    def _one(self, row: Any) -> Batch | None:
        cells = row if type(row) is tuple else msgspec.structs.astuple(row)
        columns: dict[str, Column] = {}
        nulls: dict[str, Mask] = {}
        try:
            for name, column_of, cell in zip(self._names, self._columns, cells, strict=True):
                columns[name], mask = column_of(cell)
                if mask is not None:
                    nulls[name] = mask
        except (OverflowError, ValueError):  # a whole number past int64, or not a time: the slow parser says which
            return None
        return Batch(1, columns, nulls)

    def _many(self, instances: list[Any]) -> Batch | None:
        if not instances:
            return None
        rows = [row if type(row) is tuple else msgspec.structs.astuple(row) for row in instances]
        columns: dict[str, Column] = {}
        nulls: dict[str, Mask] = {}
        for each, cells in zip(self._inputs, zip(*rows, strict=True), strict=True):
            columns[each.name], mask = read_cells(each, list(cells), partial(_place, each))
            if mask is not None:
                nulls[each.name] = mask
        return Batch(len(rows), columns, nulls)

    def _write(self, outputs: Outputs) -> Response:
        return Response(body=_encode({"predictions": self._predictions(outputs)}))


def _place(each: Input, at: int) -> str:
    return f'instances[{at}]["{each.name}"]'


def _body(inputs: list[Input]) -> Any:
    kinds: list[Any] = [_TYPES[each.dtype] | None if each.nullable else _TYPES[each.dtype] for each in inputs]
    fields = [f"input_{at}" for at in range(len(inputs))]
    named: Any = msgspec.defstruct(
        "Named",
        # A field without a default may not follow one with a default, unless it is named in the call.
        [
            (field, kind, None) if each.nullable else (field, kind)
            for field, kind, each in zip(fields, kinds, inputs, strict=True)
        ],
        kw_only=True,
        forbid_unknown_fields=True,
        gc=False,
        rename=dict(zip(fields, (each.name for each in inputs), strict=True)),
    )
    listed: Any = GenericAlias(tuple, tuple(kinds))
    instances = GenericAlias(list, (named | listed,))
    return msgspec.defstruct("Body", [("instances", instances)], forbid_unknown_fields=True, gc=False)


def column_of(each: Input) -> MakeColumn:
    """What makes a column of one cell."""
    dtype, fill = NUMPY[each.dtype], fill_of(each)

    def column(cell: Any) -> tuple[Column, Mask | None]:
        if cell is None:
            return np.array([fill], dtype=dtype), None if each.is_float else np.ones(1, dtype=np.bool_)
        return np.array([cell], dtype=dtype), None

    def time(cell: Any) -> tuple[Column, Mask | None]:
        if cell is None:
            return column(None)
        parsed = parse_timestamp(cell)
        if parsed is None:
            raise ValueError(cell)
        return np.array([parsed], dtype=dtype), None

    if each.dtype == "timestamp":
        return time
    return column if each.nullable else lambda cell: (np.array([cell], dtype=dtype), None)
