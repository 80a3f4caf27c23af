"""What tritonclient and MLServer's codecs send, and what they read: recorded by scripts/record_clients.py.

The clients cannot be installed beside this project. Each file has a client's request and the response that the client
then read the right predictions from; the server still answers with it.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.unit.serving import graphs
from tests.unit.serving.clients import Client
from tests.unit.serving.test_grpc import infer as grpc_infer
from tests.unit.serving.test_typed import INFER

RECORDS = sorted((Path(__file__).parents[2] / "data" / "clients").glob("*.json"))


def answered(record: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    """The headers and the body of our response; no headers over gRPC."""
    made, request = graphs.KINDS[record["model"]](), b64decode(record["request"])
    if record["headers"] is None:
        return {}, grpc_infer(made, request).SerializeToString()
    response = Client(made)("POST", INFER, request, record["headers"])
    assert response.status_code == 200, response.text
    kept = ("content-type", "inference-header-content-length")
    return {name: response.headers[name] for name in kept if name in response.headers}, response.content


@pytest.mark.parametrize("path", RECORDS, ids=[path.stem for path in RECORDS])
def test_a_request_of_another_client_gets_the_response_that_it_can_read(path: Path) -> None:
    record = json.loads(path.read_text())
    headers, body = answered(record)
    if os.environ.get("SABIA_RECORD_CLIENTS"):
        record |= {"response_headers": headers, "response": b64encode(body).decode()}
        path.write_text(json.dumps(record, indent=1) + "\n")
    assert headers == record["response_headers"]
    assert body == b64decode(record["response"])


def test_every_client_is_recorded() -> None:
    assert {path.stem.partition("-")[0] for path in RECORDS} == {"mlserver", "triton"}
