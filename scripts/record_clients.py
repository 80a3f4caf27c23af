"""`python scripts/record_clients.py requests|responses triton|mlserver`: record what other clients send and read.

Needs tritonclient[http,grpc] or mlserver. Their requirements do not fit those of the project, and they cannot be in one
process. `requests` writes what the client sends to the versions of tests/unit/serving/graphs.py, one file each, to
tests/data/clients. Then `pytest tests/unit/serving/test_recorded_clients.py` with SABIA_RECORD_CLIENTS=1 adds the
server's responses. `responses` has the client read these, and fails if it does not find the predictions.
"""

from __future__ import annotations

import json
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

TARGET = Path(__file__).parents[1] / "tests" / "data" / "clients"
IMAGES = np.stack([np.arange(48, dtype=np.float32).reshape(3, 4, 4) * factor for factor in (1, 2)])
MEANS = [7.5, 23.5, 39.5, 15.0, 47.0, 79.0]
# Two rows of the version `mixed`, the second with nulls where a client can write them, and what it predicts of them.
PENGUINS: dict[str, list[Any]] = {
    "species": ["Gentoo", "Adelie"],
    "island": ["Dream", "Dream"],
    "bill length": [40.5, float("nan")],
    "year": [2008, 2008],
    "tagged": [True, False],
    "seen": ["1970-01-01T00:00:20Z", "1970-01-01T00:00:20Z"],
}
MIXED = [3 + 10 + 40.5 + 1000 + 8 + 20, 1 + 10 + 8 + 20]
DATATYPES = {"bill length": ("FP64", np.float64), "year": ("INT64", np.int64), "tagged": ("BOOL", np.bool_)}

# By file: the version, the client's request as headers and body (no headers: gRPC), and how it reads a response.
Sent = tuple[dict[str, str] | None, bytes]
Read = Callable[[dict[str, str], bytes], list[Any]]


def tensors(kind: Any, columns: dict[str, Any], **options: bool) -> list[Any]:
    """A client's tensors."""
    made = []
    for name, values in columns.items():
        datatype, dtype = DATATYPES.get(name, ("BYTES", np.object_))
        array = values if isinstance(values, np.ndarray) else np.array(values, dtype=dtype).reshape(-1, 1)
        tensor = kind(name, list(array.shape), "FP32" if array.dtype == np.float32 else datatype)
        tensor.set_data_from_numpy(array, **options)
        made.append(tensor)
    return made


def triton_http(columns: dict[str, Any], output: str, *, binary: bool) -> tuple[Sent, Read]:
    """A request of tritonclient.http."""
    import tritonclient.http as client

    inputs = tensors(client.InferInput, columns, binary_data=binary)
    outputs = [client.InferRequestedOutput(output, binary_data=binary)]
    body, length = client.InferenceServerClient.generate_request_body(inputs, outputs)
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}

    def read(given: dict[str, str], response: bytes) -> list[Any]:
        found = given.get("inference-header-content-length")
        size = None if found is None else int(found)
        result = client.InferenceServerClient.parse_response_body(response, header_length=size)
        return list(result.as_numpy(output).ravel())

    return (headers, body if isinstance(body, bytes) else body.encode()), read


def triton_grpc(columns: dict[str, Any], output: str) -> tuple[Sent, Read]:
    """A request of tritonclient.grpc."""
    import tritonclient.grpc as client
    from tritonclient.grpc import service_pb2
    from tritonclient.grpc._utils import _get_inference_request

    inputs = tensors(client.InferInput, columns)
    outputs = [client.InferRequestedOutput(output)]
    request = _get_inference_request("toy", inputs, "", "7", outputs, 0, False, False, 0, None, None)

    def read(given: dict[str, str], response: bytes) -> list[Any]:
        del given
        found = client.InferResult(service_pb2.ModelInferResponse.FromString(response))
        return list(found.as_numpy(output).ravel())

    return (None, request.SerializeToString()), read


def mlserver(*inputs: Any, frame: pd.DataFrame | None = None) -> tuple[Sent, Read]:
    """A request of inputs that MLServer's codecs made, or of a table, sent as its documentation says."""
    from mlserver.codecs import NumpyCodec, PandasCodec, StringCodec
    from mlserver.types import InferenceRequest, InferenceResponse

    request = InferenceRequest(inputs=[*inputs])
    if frame is not None:
        request = PandasCodec.encode_request(frame, use_bytes=False)

    def read(given: dict[str, str], response: bytes) -> list[Any]:
        del given
        (output, *_) = InferenceResponse.model_validate_json(response).outputs
        codec = StringCodec if output.datatype == "BYTES" else NumpyCodec
        decoded = codec.decode_output(output)
        return list(np.asarray(decoded).ravel())

    return ({"Content-Type": "application/json"}, json.dumps(request.model_dump()).encode()), read


Case = tuple[str, tuple[Sent, Read], list[Any]]


def triton_cases() -> dict[str, Case]:
    """By name: the version, the request with its reading, and the predictions."""
    return {
        "triton-http-binary": ("mixed", triton_http(PENGUINS, "prediction", binary=True), MIXED),
        "triton-http-image": ("image", triton_http({"image": IMAGES}, "means", binary=True), MEANS),
        "triton-http-json": ("image", triton_http({"image": IMAGES}, "means", binary=False), MEANS),
        "triton-grpc": ("mixed", triton_grpc(PENGUINS, "prediction"), MIXED),
        "triton-grpc-image": ("image", triton_grpc({"image": IMAGES}, "means"), MEANS),
    }


def mlserver_cases() -> dict[str, Case]:
    """By name, as for Triton's."""
    from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec

    frame = pd.DataFrame(
        {name: pd.Series(values, dtype=DATATYPES.get(name, ("", object))[1]) for name, values in PENGUINS.items()}
    )
    image = NumpyCodec.encode_input("image", IMAGES)
    text = StringCodec.encode_input("text", ["sabiá", ""], use_bytes=False)
    blob = Base64Codec.encode_input("blob", [b"ab", b"\xff\x00"], use_bytes=False)
    return {
        "mlserver-pandas": ("mixed", mlserver(frame=frame), MIXED),
        "mlserver-numpy": ("image", mlserver(image), MEANS),
        "mlserver-string": ("text", mlserver(text), ["sabiá", ""]),
        "mlserver-base64": ("blob", mlserver(blob), [1, 2]),
    }


def main() -> None:
    """Write the requests, or read the responses."""
    TARGET.mkdir(parents=True, exist_ok=True)
    step, library = sys.argv[1:]
    cases = triton_cases() if library == "triton" else mlserver_cases()
    client = "tritonclient" if library == "triton" else library
    for name, (model, ((headers, body), read), expected) in cases.items():
        path = TARGET / f"{name}.json"
        if step == "requests":
            record = {"client": f"{client} {version(client)}", "model": model, "headers": headers}
            path.write_text(json.dumps(record | {"request": b64encode(body).decode()}, indent=1) + "\n")
            continue
        record = json.loads(path.read_text())
        found = read(record["response_headers"], b64decode(record["response"]))
        assert len(found) == len(expected), name
        for one, other in zip(found, expected, strict=True):
            text = one.decode() if isinstance(one, bytes) else one
            assert text == other, (name, found, expected)
        print(f"{name}: {record['client']} reads the predictions")


if __name__ == "__main__":
    main()
