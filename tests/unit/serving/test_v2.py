"""The Open Inference Protocol: JSON and binary, and each row of what KServe's own server gets wrong in it."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sabia.registry.verification import Artifact
from tests.unit.serving.clients import INFER, JSON, Client
from tests.unit.serving.test_v1 import error

Rows = NDArray[np.float64]
BINARY = "application/octet-stream"


def tensor(data: Any, /, **changed: Any) -> dict[str, Any]:
    """The input `features` of one row of ones, changed."""
    return {"name": "features", "shape": [1, 30], "datatype": "FP64", "data": data} | changed


def request(*inputs: dict[str, Any], **more: Any) -> bytes:
    """A JSON request."""
    return json.dumps({"inputs": list(inputs)} | more).encode()


def binary(document: dict[str, Any], data: bytes, length: int | None = None) -> tuple[bytes, dict[str, str]]:
    """A binary request and its headers."""
    head = json.dumps(document).encode()
    headers = {"content-type": BINARY, "inference-header-content-length": str(len(head) if length is None else length)}
    return head + data, headers


def binary_input(data: bytes, **changed: Any) -> dict[str, Any]:
    """The input `features` with its data behind the JSON."""
    found = tensor(None, parameters={"binary_data_size": len(data)}) | changed
    del found["data"]
    return found


ONES = [1.0] * 30


@pytest.fixture
def expected(client: Client) -> list[float]:
    """The prediction for a row of ones, by V1."""
    found: list[float] = client.predict(json.dumps({"instances": [ONES]}).encode()).json()["predictions"]
    return found


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"data": [ONES]},
        {"shape": [-1, 30]},
        {"shape": [1, -1]},
        {"datatype": "fp64"},
        {"datatype": "FP32"},
        {"datatype": "INT8", "data": [1] * 30},
        {"datatype": "UINT64", "data": [1] * 30},
    ],
    ids=str,
)
def test_v2_predicts_what_v1_predicts(client: Client, expected: list[float], change: dict[str, Any]) -> None:
    response = client.infer(request(tensor(ONES, **change), id="my call"))
    assert response.status_code == 200
    assert response.json() == {
        "model_name": "breast-cancer",
        "model_version": "2.0",
        "id": "my call",
        "outputs": [{"name": "prediction", "shape": [1], "datatype": "FP64", "data": expected}],
    }


def test_without_an_id_none_is_invented(client: Client) -> None:
    assert "id" not in client.infer(request(tensor(ONES))).json()


def test_the_features_may_come_as_one_tensor_each(client: Client, rows: Rows) -> None:
    names = client.model.names
    columns = [
        {"name": name, "shape": [3, 1] if at % 2 else [3], "datatype": "FP64", "data": rows[:3, at].tolist()}
        for at, name in enumerate(names)
    ]
    together = tensor(rows[:3].ravel().tolist(), shape=[3, 30])
    assert client.infer(request(*reversed(columns))).json() == client.infer(request(together)).json()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "The body is not JSON"),
        (b"{", "The body is not JSON"),
        (b"\xff", "The body is not JSON"),
        (b"[1]", "does not follow the protocol"),
        (b"{}", "inputs"),
        (b'{"inputs": 5}', "inputs"),
        (b'{"inputs": []}', '"inputs" is empty'),
        (b'{"inputs": [{}]}', "inputs"),
        (request(tensor(ONES), id=5), "id"),
        (request({"name": "features", "shape": [1, 30], "datatype": "FP64"}), "inputs[0].data"),
        (request(tensor(ONES, name="input-0")), "inputs[0].name"),
        (request(tensor(ONES), tensor(ONES)), "inputs[1].name 'features' is given twice"),
        (request(tensor(ONES), tensor([1.0], name="mean radius", shape=[1])), "not both"),
        (request(tensor([1.0], name="mean radius", shape=[1])), 'lacks feature "mean texture"'),
        (request(tensor(ONES, shape=[2, 30])), "inputs[0].shape"),
        (request(tensor(ONES, shape=[1, 31])), "inputs[0].shape"),
        (request(tensor(ONES, shape=[30])), "inputs[0].shape"),
        (request(tensor(ONES, shape=[])), "inputs[0].shape"),
        (request(tensor(ONES, shape="x")), "shape"),
        (request(tensor([1.0] * 31, shape=[1, 31])), "inputs[0].shape"),
        (request(tensor([[1.0] * 29, [1.0] * 31], shape=[2, 30])), "ragged"),
        (request(tensor([[[1.0] * 30]])), "nested deeper"),
        (request(tensor(["1"] * 30)), "not numbers"),
        (request(tensor([None] * 30)), "not numbers"),
        (request(tensor([True] * 30)), "not numbers"),
        (request(tensor([True] * 30, datatype="BOOL")), "BOOL is not numeric"),
        (request(tensor(["a"] * 30, datatype="BYTES")), "BYTES is not numeric"),
        (request(tensor([200] * 30, datatype="INT8")), "out of the range of INT8"),
        (request(tensor([-1] * 30, datatype="UINT8")), "out of the range of UINT8"),
        (request(tensor([1.5] * 30, datatype="INT64")), "not whole numbers"),
        (request(tensor(ONES, datatype="FP16")), "FP16 has no JSON form"),
        (request(tensor(ONES, datatype="FP128")), "not a datatype"),
        (request(tensor([1e300] * 30, datatype="FP32")), "not a finite number"),
        (request(tensor([], shape=[0, 30])), "at least one row"),
        (request(tensor([float("nan")] * 30)), "The body is not JSON"),
        (request(tensor(ONES), outputs=[{"name": "other"}]), "outputs[0].name"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_bad_input_is_a_400_that_names_the_field(client: Client, body: bytes, named: str) -> None:
    response = client.infer(body)
    assert response.status_code == 400
    assert named in error(response)


def test_an_unknown_model_is_a_404_whatever_the_body(client: Client) -> None:
    assert client("POST", "/v2/models/other/infer", b"garbage", JSON).status_code == 404


def test_the_served_version_may_be_named_and_no_other(client: Client) -> None:
    good = client("POST", "/v2/models/breast-cancer/versions/2.0/infer", request(tensor(ONES)), JSON)
    other = client("POST", "/v2/models/breast-cancer/versions/1.2/infer", request(tensor(ONES)), JSON)
    assert (good.status_code, other.status_code) == (200, 404)
    assert "2.0 is" in error(other)


@pytest.mark.parametrize(("datatype", "dtype"), [("FP64", "<f8"), ("FP32", "<f4"), ("FP16", "<f2"), ("INT32", "<i4")])
def test_binary_input_gets_the_predictions_of_the_same_numbers(
    client: Client, expected: list[float], datatype: str, dtype: str
) -> None:
    data = np.ones(30, dtype=dtype).tobytes()
    response = client.infer(*binary({"inputs": [binary_input(data, datatype=datatype)]}, data))
    assert response.status_code == 200
    assert response.json()["outputs"][0]["data"] == expected


@pytest.mark.parametrize(
    "wanted",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "prediction", "parameters": {"binary_data": True}}]},
    ],
)
def test_binary_output_comes_behind_its_json(client: Client, expected: list[float], wanted: dict[str, Any]) -> None:
    response = client.infer(request(tensor(ONES), **wanted))
    assert response.headers["content-type"] == BINARY
    length = int(response.headers["inference-header-content-length"])
    output = json.loads(response.content[:length])["outputs"][0]
    assert output["parameters"] == {"binary_data_size": 8}
    assert struct.unpack("<d", response.content[length:]) == tuple(expected)


DATA = np.ones(30).tobytes()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (binary({"inputs": [binary_input(DATA)]}, DATA[:-8]), "binary_data_size does not fit"),
        (binary({"inputs": [binary_input(DATA)]}, DATA + b"more"), "4 bytes that no input claims"),
        (binary({"inputs": [binary_input(DATA)]}, DATA, length=10_000), "Inference-Header-Content-Length"),
        (binary({"inputs": [binary_input(DATA)]}, DATA, length=0), "Inference-Header-Content-Length"),
        (binary({"inputs": [binary_input(DATA)]}, DATA, length=3), "not JSON"),
        (binary({"inputs": [binary_input(DATA, parameters={"binary_data_size": -8})]}, DATA), "binary_data_size"),
        (binary({"inputs": [binary_input(DATA, parameters={"binary_data_size": "x"})]}, DATA), "binary_data_size"),
        (binary({"inputs": [binary_input(DATA[:-1])]}, DATA[:-1]), "is not a whole number of FP64"),
        (binary({"inputs": [binary_input(DATA) | {"data": ONES}]}, DATA), "must be absent"),
        (binary({"inputs": [binary_input(b"\xff\xff\xff\x7f", datatype="BYTES")]}, b"\xff\xff\xff\x7f"), "BYTES"),
        (binary({}, DATA), "inputs"),
        (binary({"inputs": [binary_input(np.full(30, np.nan).tobytes())]}, np.full(30, np.nan).tobytes()), "finite"),
    ],
)
def test_a_bad_binary_request_is_a_400(client: Client, call: tuple[bytes, dict[str, str]], named: str) -> None:
    response = client.infer(*call)
    assert response.status_code == 400
    assert named in error(response)


@pytest.mark.parametrize("length", ["", "-1", "1.5", "abc", "9" * 5000])
def test_a_header_length_that_is_none_is_a_400(client: Client, length: str) -> None:
    response = client.infer(request(tensor(ONES)), {"content-type": BINARY, "inference-header-content-length": length})
    assert response.status_code == 400
    assert "Inference-Header-Content-Length" in error(response)


def test_binary_without_its_header_is_a_400_and_json_without_a_type_is_read(client: Client) -> None:
    assert client.infer(request(tensor(ONES)), {"content-type": BINARY}).status_code == 400
    assert client.infer(request(tensor(ONES)), {}).status_code == 200


@pytest.mark.slow
@given(st.binary(max_size=300), st.integers(0, 400))
def test_no_bytes_at_all_are_a_server_error(logistic: Artifact, body: bytes, length: int) -> None:
    client = Client(logistic)
    headers = {"content-type": BINARY, "inference-header-content-length": str(length)}
    assert client("POST", INFER, body, headers).status_code == 400
    assert client.infer(body).status_code == 400
    assert client.predict(body).status_code == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.slow
@given(json_values, json_values, json_values)
def test_no_json_at_all_is_a_server_error(logistic: Artifact, data: object, shape: object, parameters: object) -> None:
    client = Client(logistic)
    body = request(tensor(data, shape=shape, parameters=parameters))
    assert client.infer(body).status_code == 400
    assert client.predict(json.dumps({"instances": data}).encode()).status_code == 400


def test_metadata_lists_the_real_features_and_the_version(client: Client) -> None:
    document = client("GET", "/v2/models/breast-cancer").json()
    assert (document["name"], document["versions"]) == ("breast-cancer", ["2.0"])
    (features,) = document["inputs"]
    assert (features["name"], features["datatype"], features["shape"]) == ("features", "FP64", [-1, 30])
    assert features["parameters"]["features"] == [feature.name for feature in client.artifact.manifest.inputs]
    assert document["outputs"] == [{"name": "prediction", "datatype": "FP64", "shape": [-1]}]


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_describes_itself(client: Client, path: str) -> None:
    document = client("GET", path).json()
    assert document["name"] == "sabia"
    assert "binary_tensor_data" in document["extensions"]


def test_the_models_are_listed(client: Client) -> None:
    assert client("GET", "/v1/models").json() == client("GET", "/v2/models").json() == {"models": ["breast-cancer"]}
    assert client("GET", "/").json() == {"status": "alive"}
