"""V2 requests of one plain row in JSON for any signature without tensors, as nearly every such request is.

The decoder refuses what is not a list of tensors with one value each, and what does not have the datatype of its input
is left to the slow parser, which finds out what it is.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from sabia.serving.http.messages import Request
from sabia.serving.inference.batch import Batch, Column, Mask
from sabia.serving.inference.session import Outputs
from sabia.serving.inference.typed import TypedModel
from sabia.serving.protocols import headers, pieces, typed, typedtensors
from sabia.serving.protocols.jobs import Job
from sabia.serving.protocols.plainrows import column_of
from sabia.serving.protocols.values import TYPES

_SHAPES = ([1], [1, 1])


class _Tensor(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: list[float | int | bool | str | None]
    parameters: dict[str, Any] | None = None


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    inputs: list[_Tensor]
    id: str | None = None


class PlainTensors:
    """Parses one plain row of one model's signature, which `PlainRows` can read."""

    def __init__(self, model: TypedModel) -> None:
        self._inputs = {
            each.name: (
                typedtensors.DATATYPES[each.dtype],
                TYPES[each.dtype] | ({type(None)} if each.nullable else set()),
                column_of(each),
            )
            for each in model.signature.inputs
        }
        self._names = model.names
        self._wanted = typedtensors.wanted(None, model.signature)
        self._decoder = msgspec.json.Decoder(_Plain)

    def parse(self, request: Request, model: TypedModel) -> Job[Batch, Outputs] | None:
        """The request, if it is one plain row; None is not an error."""
        if (
            len(request.body) > pieces.PIECE_BYTES
            or not headers.is_plain(request)
            or b"inference-header-content-length" in request.headers
        ):
            return None
        try:
            plain = self._decoder.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        batch = self._batch(plain.inputs) if len(plain.inputs) == len(self._names) else None
        return None if batch is None else Job(batch, partial(typed.write_infer, plain.id, self._wanted, model=model))

    def _batch(self, tensors: list[_Tensor]) -> Batch | None:
        columns: dict[str, Column] = {}
        nulls: dict[str, Mask] = {}
        for tensor in tensors:
            datatype, types, make = self._inputs.get(tensor.name, ("", frozenset(), None))
            data = tensor.data
            if make is None or tensor.datatype != datatype or tensor.shape not in _SHAPES or len(data) != 1:
                return None
            if type(data[0]) not in types or tensor.parameters:
                return None
            try:
                columns[tensor.name], mask = make(data[0])
            except (OverflowError, ValueError):  # a whole number past int64, or not a time
                return None
            if mask is not None:
                nulls[tensor.name] = mask
        return Batch(1, columns, nulls) if len(columns) == len(self._names) else None
