"""The tensors in gRPC's infer messages, without gRPC itself."""

from __future__ import annotations

from typing import Any

from sabia.serving.errors import InvalidInput, UnknownModel, UnknownVersion
from sabia.serving.protocols import v2

# The field of `contents` that holds a datatype's values, by the protocol.
CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def check_identity(name: str, version: str, served: str, served_version: str) -> None:
    """Refuse a request for a model or version that is not served here; an empty version is any.

    Raises:
        UnknownModel, UnknownVersion: it is another.
    """
    if name != served:
        raise UnknownModel(name)
    if version not in ("", served_version):
        raise UnknownVersion(version, served_version)


def tensors(infer: Any) -> tuple[list[v2.Input], bytes]:
    """The tensors of an infer request, and the binary data of all of them; empty where they have none.

    Raises:
        InvalidInput: names the first field that is wrong.
    """
    raw = list(infer.raw_input_contents)
    if raw and len(raw) != len(infer.inputs):
        raise InvalidInput('"raw_input_contents"', f"has {len(raw)} entries for {len(infer.inputs)} inputs")
    if not infer.inputs:
        raise InvalidInput('"inputs"', "is empty; send at least one tensor")
    return [_input(at, tensor, raw[at] if raw else None) for at, tensor in enumerate(infer.inputs)], b"".join(raw)


def _input(at: int, tensor: Any, raw: bytes | None) -> v2.Input:
    kind = tensor.datatype.upper()
    infer_input = v2.Input(name=tensor.name, shape=list(tensor.shape), datatype=tensor.datatype)
    filled = [field.name for field, _ in tensor.contents.ListFields()]
    if raw is not None:
        if filled:
            raise InvalidInput(f"inputs[{at}].contents", "must be empty when raw_input_contents is given")
        infer_input.parameters = {"binary_data_size": len(raw)}
        return infer_input
    field = CONTENTS.get(kind)
    if field is not None and filled and filled != [field]:
        raise InvalidInput(f"inputs[{at}].contents", f"must be in {field} for {kind}")
    infer_input.data = list(getattr(tensor.contents, field)) if field is not None else []
    return infer_input
