"""V2 requests as dictionaries, from JSON, binary data or gRPC, and their responses in the same form.

For models that do not use KServe's SDK. A tensor's `data` is a flat list; its bytes are text where they are UTF-8, and
`{"b64": ...}` elsewhere.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from sabia.serving.errors import InvalidInput
from sabia.serving.protocols import bytestensors, grpctensors, v2

Document = dict[str, Any]

_NUMPY = v2.DATATYPES | {"BOOL": "?"}


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a response's tensors: binary data or JSON, and the outputs that differ from the others."""

    binary: bool = False
    others: dict[str, bool] = field(default_factory=dict)

    def is_binary(self, name: str) -> bool:
        """Whether an output's data is binary."""
        return self.others.get(name, self.binary)


def from_rest(body: bytes, length: int | None) -> tuple[Document, Form]:
    """The document of a request, and the form of its response; `length` is that of the JSON before binary data.

    Raises:
        InvalidInput: names the first field that is wrong.
    """
    infer, tail = v2.decode(body, length)
    document = _document(infer.inputs, tail)
    binary = bool((infer.parameters or {}).get("binary_data_output", False))
    others: dict[str, bool] = {}
    outputs: list[Document] = []
    for each in infer.outputs or []:
        others[each.name] = bool((each.parameters or {}).get("binary_data", binary))
        outputs.append({"name": each.name, "parameters": _without(each.parameters, "binary_data")})
    if infer.id is not None:
        document["id"] = infer.id
    if infer.parameters:
        document["parameters"] = _without(infer.parameters, "binary_data_output")
    if outputs:
        document["outputs"] = outputs
    return document, Form(binary, others)


def from_grpc(message: Any) -> tuple[Document, Form]:
    """As `from_rest`, of a ModelInferRequest.

    Raises:
        InvalidInput: names the first field that is wrong.
    """
    inputs, raw = grpctensors.tensors(message)
    document = _document(inputs, memoryview(raw)) | {"id": message.id}
    if message.outputs:
        document["outputs"] = [{"name": each.name} for each in message.outputs]
    return document, Form(binary=bool(raw))


def to_rest(document: Document, form: Form) -> tuple[bytes, int | None]:
    """The body of a response, and the length of its JSON where binary data follows it.

    Raises:
        KeyError, TypeError, ValueError: the document is not a V2 response.
    """
    parts: list[bytes] = []
    outputs = []
    for each in document["outputs"]:
        if not form.is_binary(each["name"]):
            outputs.append(each)
            continue
        data = _binary(each)
        parts.append(data)
        parameters = _without(each.get("parameters"), "content_type") | {"binary_data_size": len(data)}
        outputs.append({key: value for key, value in each.items() if key != "data"} | {"parameters": parameters})
    head = msgspec.json.encode(document | {"outputs": outputs}, enc_hook=_listed)
    return (b"".join([head, *parts]), len(head)) if parts else (head, None)


def to_grpc(document: Document, form: Form) -> bytes:
    """A ModelInferResponse.

    Raises:
        KeyError, TypeError, ValueError: the document is not a V2 response.
    """
    from sabia.serving.protocols import messages  # noqa: PLC0415  a tenth of a second that HTTP need not wait

    identity = {key: document[key] for key in ("model_name", "model_version", "id") if document.get(key)}
    response = messages.ModelInferResponse(**identity)
    for each in document["outputs"]:
        tensor = response.outputs.add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
        if form.binary:
            response.raw_output_contents.append(_binary(each))
        else:
            values = _encoded(each) if each["datatype"] == "BYTES" else _flat(each)
            getattr(tensor.contents, grpctensors.CONTENTS[each["datatype"]]).extend(values)
    data: bytes = response.SerializeToString()
    return data


def _document(inputs: list[v2.Input], tail: memoryview) -> Document:
    tensors = []
    for at, each in enumerate(inputs):
        parameters = dict(each.parameters or {})
        size = parameters.pop("binary_data_size", None)
        datatype, data = each.datatype, each.data
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(tail):
                raise InvalidInput(f"inputs[{at}].parameters.binary_data_size", "does not fit the body")
            data, tail = _values(f"inputs[{at}]", datatype, tail[:size]), tail[size:]
            datatype = "FP32" if datatype == "FP16" else datatype  # FP16 has no JSON form
        elif isinstance(data, list) and datatype == "BYTES":
            data = [_text(value) if isinstance(value, bytes) else value for value in data]
        tensor = {"name": each.name, "shape": each.shape, "datatype": datatype, "data": data}
        tensors.append(tensor | ({"parameters": parameters} if parameters else {}))
    if tail:
        raise InvalidInput("The body", f"has {len(tail)} bytes that no input claims")
    return {"inputs": tensors}


def _values(place: str, datatype: str, data: memoryview) -> list[Any]:
    if datatype == "BYTES":
        try:
            return [_text(value) for value in bytestensors.split(data)]
        except ValueError as error:
            raise InvalidInput(place, "has a BYTES value that is longer than its data") from error
    if datatype not in _NUMPY:
        raise InvalidInput(f"{place}.datatype", f"{datatype!r} is not a datatype of the protocol")
    dtype = np.dtype(_NUMPY[datatype])
    if len(data) % dtype.itemsize:
        raise InvalidInput(f"{place}.parameters.binary_data_size", f"is not a whole number of {datatype} values")
    numbers: list[Any] = np.frombuffer(data, dtype=dtype).tolist()
    return numbers


def _binary(tensor: Document) -> bytes:
    """The values of a tensor as the protocol's binary data."""
    if tensor["datatype"] == "BYTES":
        return bytestensors.join(_encoded(tensor))
    return np.array(_flat(tensor), dtype=_NUMPY[tensor["datatype"]]).tobytes()


def _flat(tensor: Document) -> list[Any]:
    values: list[Any] = _listed(tensor["data"])
    while values and isinstance(values[0], list):
        values = [inner for each in values for inner in each]
    return values


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _text(value: bytes) -> str | Document:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": b64encode(value).decode()}


def _encoded(tensor: Document) -> list[bytes]:
    """The values of a BYTES tensor."""
    if (tensor.get("parameters") or {}).get("content_type") == "base64":
        return [b64decode(value) for value in _flat(tensor)]
    return [_bytes(value) for value in _flat(tensor)]


def _bytes(value: Any) -> bytes:
    if isinstance(value, dict):
        return b64decode(value["b64"])
    return value if isinstance(value, bytes) else str(value).encode()


def _without(parameters: Document | None, name: str) -> Document:
    return {key: value for key, value in (parameters or {}).items() if key != name}
