"""Bodies made of arbitrary bytes, for everything that reads a body; the fuzzer and the replayed corpus use the same."""

from __future__ import annotations

import asyncio
import json
from time import perf_counter

import numpy as np
from prometheus_client import CollectorRegistry

from sabia.serving.app import App
from sabia.serving.http.messages import Request, Response
from sabia.serving.inference.model import Model
from sabia.serving.protocols import grpc, messages
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import VersionMetrics

_V1 = b"/v1/models/breast-cancer:predict"
_EXPLAIN = b"/v1/models/breast-cancer:explain"
_V2 = b"/v2/models/breast-cancer/infer"
_TYPES = (b"application/json", b"application/cloudevents+json", b"application/octet-stream", b"")


def seeds() -> list[bytes]:
    """Inputs of `Bodies` that are good requests, or nearly, for a fuzzer to start from."""
    ones = [1.0] * 30
    tensor = {"name": "features", "shape": [1, 30], "datatype": "FP64"}
    plain = {"inputs": [tensor | {"data": ones}], "id": "x", "outputs": [{"name": "prediction"}]}
    nested = {"inputs": [tensor | {"shape": [2, 30], "data": [ones, ones], "datatype": "INT8"}]}
    single = {"inputs": [{"name": "mean area", "shape": [1], "datatype": "FP32", "data": [1]}]}
    binary = {
        "inputs": [tensor | {"parameters": {"binary_data_size": 240}}],
        "parameters": {"binary_data_output": True},
    }
    event = {"specversion": "1.0", "id": "1", "source": "x", "type": "y", "data": {"instances": [ones]}}
    head = json.dumps(binary).encode()
    raw = np.ones(30).tobytes()
    contents = messages.InferTensorContents(fp64_contents=ones)
    inputs = [messages.ModelInferRequest.InferInputTensor(**tensor, contents=contents)]
    bare = [messages.ModelInferRequest.InferInputTensor(**tensor)]
    typed = messages.ModelInferRequest(model_name="breast-cancer", id="x", inputs=inputs)
    packed = messages.ModelInferRequest(model_name="breast-cancer", inputs=bare, raw_input_contents=[raw])
    found = [(0, 0, {"instances": [ones]}), (0, 0, {"instances": [ones, ones]}), (0, 0, {"inputs": [{"mean area": 1}]})]
    found += [(1, 0, {"instances": [ones]}), (0, 1, event), (2, 0, plain), (2, 0, nested), (2, 0, single)]
    documents = [bytes([call, kind, 0]) + json.dumps(document).encode() for call, kind, document in found]
    calls = [bytes([4, 0, 0]) + message.SerializeToString() for message in (typed, packed)]
    return [*documents, bytes([3]) + len(head).to_bytes(2, "little") + head + raw, *calls]


class Bodies:
    """Calls one version with bytes, and fails when it is not the bytes' fault."""

    def __init__(self, model: Model) -> None:
        registry = CollectorRegistry()
        self._loop = asyncio.new_event_loop()
        self._app = App(model, Settings(), registry, VersionMetrics(model, registry))

    def __call__(self, data: bytes) -> None:
        """The first byte chooses the path, the next two the headers; the rest is the body."""
        if len(data) < 3:
            return
        call, length, body = data[0] % 5, int.from_bytes(data[1:3], "little"), data[3:]
        headers = {b"host": b"x"}
        if call == 3:
            headers |= {b"content-type": _TYPES[2], b"inference-header-content-length": b"%d" % length}
        elif length % 4:
            headers[b"content-type"] = _TYPES[length % 4]
        target = (_V1, _EXPLAIN, _V2, _V2, b"")[call]
        request = Request(b"POST", target, headers, body, perf_counter())
        response = self._loop.run_until_complete(self._ask(request, over_grpc=call == 4))
        assert response.status < 500, response.body
        assert response.status == 200 or len(response.body) < 2048, response.body

    def close(self) -> None:
        """Ask nothing more."""
        self._app.close()
        self._loop.close()

    async def _ask(self, request: Request, *, over_grpc: bool) -> Response:
        if over_grpc:
            infer = self._app.predictions.respond
            response = self._app.recorded(request, lambda request, _: infer("predict", request, None, grpc.parse))
        else:
            response = self._app.respond(request)
        return response if isinstance(response, Response) else await response
