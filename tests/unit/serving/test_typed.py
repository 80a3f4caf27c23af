"""Every kind of signature through every protocol: real graphs, and the same outputs whichever way the rows came."""

from __future__ import annotations

import base64
import json
import struct
from datetime import UTC, datetime
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from sabia.contract.signature import Input, Output
from sabia.registry.verification import Artifact
from sabia.serving.errors import InvalidInput, LoadFailed
from sabia.serving.http.messages import Request
from sabia.serving.inference.batch import Batch
from sabia.serving.inference.loading import check_draft
from sabia.serving.protocols import messages, typed, typedrows
from sabia.serving.protocols.plainrows import PlainRows
from sabia.serving.protocols.plaintensors import PlainTensors
from sabia.serving.settings import Settings
from tests.unit.serving import graphs
from tests.unit.serving.clients import JSON, Client
from tests.unit.serving.graphs import CLASSES, KINDS
from tests.unit.serving.test_grpc import infer as grpc_infer

PREDICT, EXPLAIN, INFER = "/v1/models/toy:predict", "/v1/models/toy:explain", "/v2/models/toy/infer"
PENGUIN = {
    "species": "Gentoo",
    "island": "Dream",
    "bill length": 40.5,
    "year": 2008,
    "tagged": True,
    "seen": "1970-01-01T00:00:20Z",
}
IMAGE = np.arange(48, dtype=np.float32).reshape(3, 4, 4)
# Rows of each kind as V1 takes them, with the predictions of V1.
ROWS: dict[str, tuple[list[Any], list[Any]]] = {
    "mixed": (
        [PENGUIN, PENGUIN | {"island": None, "bill length": None, "tagged": False}],
        [3 + 10 + 40.5 + 1000 + 8 + 20, 3 + 8 + 20],
    ),
    "labelled": (
        [[40.0, 0.0], [0.0, 40.0], [0.0, None]],
        [
            {"label": "Adelie", "probabilities": {"Adelie": 1.0, "Chinstrap": 0.0, "Gentoo": 0.0}},
            {"label": "Gentoo", "probabilities": {"Adelie": 0.0, "Chinstrap": 0.0, "Gentoo": 1.0}},
            {"label": "Adelie", "probabilities": dict.fromkeys(CLASSES, 1 / 3)},
        ],
    ),
    "image": ([IMAGE.tolist(), (IMAGE * 2).tolist()], [[7.5, 23.5, 39.5], [15.0, 47.0, 79.0]]),
    "tokens": ([[1, 2, 3], [9, 0, 0]], [14.0, 81.0]),
    "text": (["sabiá", ""], ["sabiá", ""]),
    "blob": ([{"b64": "YWI="}, {"b64": "/wA="}], [1, 2]),
    "several": ([{"x": 1.5, "name": "é"}], [{"double": 3.0, "triple": 4.5}]),
}


@pytest.fixture(scope="module")
def artifacts() -> dict[str, Artifact]:
    """A version of each kind."""
    return {kind: make() for kind, make in KINDS.items()}


@pytest.fixture
def mixed(artifacts: dict[str, Artifact]) -> Client:
    """A client of the version with mixed inputs."""
    return Client(artifacts["mixed"])


def predictions(client: Client, instances: Any) -> Any:
    """The predictions of V1."""
    response = client("POST", PREDICT, json.dumps({"instances": instances}).encode(), JSON)
    assert response.status_code == 200, response.text
    return response.json()["predictions"]


def problem(client: Client, path: str, document: Any) -> str:
    """The sentence of a 400."""
    response = client("POST", path, json.dumps(document).encode(), JSON)
    assert response.status_code == 400, response.text
    return str(response.json()["error"])


def cells(kind: str, inputs: list[Input]) -> dict[str, list[Any]]:
    """The rows of a kind as JSON values by input."""
    rows = ROWS[kind][0]
    named = [
        row
        if isinstance(row, dict) and row.keys() != {"b64"}
        else dict(zip([each.name for each in inputs], row if len(inputs) > 1 else [row], strict=True))
        for row in rows
    ]
    return {each.name: [row[each.name] for row in named] for each in inputs}


DATATYPES = {"float64": "FP64", "float32": "FP32", "int64": "INT64", "bool": "BOOL"}


def tensors(kind: str, inputs: list[Input]) -> list[dict[str, Any]]:
    """The rows of a kind as V2 JSON."""
    found = []
    for each, values in zip(inputs, cells(kind, inputs).values(), strict=True):
        shape = [len(values), 1] if each.is_scalar else list(np.shape(values))
        data = [value["b64"] for value in values] if each.dtype == "bytes" else values
        parameters = {"content_type": "base64"} if each.dtype == "bytes" else {}
        datatype = DATATYPES.get(each.dtype, "BYTES")
        found.append({"name": each.name, "shape": shape, "datatype": datatype, "data": data, "parameters": parameters})
    return found


def raw(each: Input, values: list[Any]) -> bytes:
    """The values as the protocol's binary data; a null float is NaN."""
    if each.dtype in ("string", "timestamp", "bytes"):
        encoded = [base64.b64decode(value["b64"]) if each.dtype == "bytes" else value.encode() for value in values]
        return b"".join(struct.pack("<I", len(value)) + value for value in encoded)
    dtype = {"float64": "<f8", "float32": "<f4", "int64": "<i8", "bool": "?"}[each.dtype]
    return (
        np.array([np.nan if value is None else value for value in np.ravel(np.array(values, dtype=object))])
        .astype(dtype)
        .tobytes()
    )


def complete(kind: str) -> bool:
    """Whether binary data can hold the rows: it has no null but NaN."""
    return kind != "mixed"


@pytest.mark.parametrize("kind", KINDS)
def test_v1_answers_by_the_role_of_the_primary_output(artifacts: dict[str, Artifact], kind: str) -> None:
    instances, expected = ROWS[kind]
    found = predictions(Client(artifacts[kind]), instances)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        if kind == "labelled":
            assert one["label"] == other["label"]
            assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
        else:
            assert one == other


@pytest.mark.parametrize("kind", KINDS)
def test_v1_rows_are_objects_or_lists(artifacts: dict[str, Artifact], kind: str) -> None:
    client, inputs = Client(artifacts[kind]), artifacts[kind].manifest.inputs
    columns = cells(kind, inputs)
    named = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    listed = [list(row.values()) for row in named]
    expected = predictions(client, ROWS[kind][0])
    assert predictions(client, named) == expected
    if len(inputs) > 1 or inputs[0].is_scalar:
        assert predictions(client, listed) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_v2_has_a_tensor_for_each_input_and_output(artifacts: dict[str, Artifact], kind: str) -> None:
    manifest = artifacts[kind].manifest
    client = Client(artifacts[kind])
    body = {"inputs": tensors(kind, manifest.inputs), "id": "my call"}
    response = client("POST", INFER, json.dumps(body).encode(), JSON)
    assert response.status_code == 200, response.text
    document = response.json()
    assert (document["model_name"], document["model_version"], document["id"]) == ("toy", "1.0", "my call")
    assert [each["name"] for each in document["outputs"]] == [each.name for each in manifest.outputs]
    primary = document["outputs"][0]
    expected = ROWS[kind][1]
    if kind == "labelled":
        assert primary["data"] == [each["label"] for each in expected]
        assert (document["outputs"][1]["datatype"], document["outputs"][1]["shape"]) == ("FP32", [3, 3])
    elif kind == "several":
        assert [each["data"] for each in document["outputs"]] == [
            [3.0],
            [4.5],
            [True],
            ["1970-01-01T00:00:00.000001Z"],
            [base64.b64encode("é".encode()).decode()],
        ]
        assert [each["datatype"] for each in document["outputs"]] == ["FP64", "FP64", "BOOL", "BYTES", "BYTES"]
    else:
        assert primary["data"] == np.ravel(expected).tolist()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if complete(kind)])
def test_v2_binary_data_means_what_json_means(artifacts: dict[str, Artifact], kind: str) -> None:
    inputs = artifacts[kind].manifest.inputs
    client = Client(artifacts[kind])
    plain = client("POST", INFER, json.dumps({"inputs": tensors(kind, inputs)}).encode(), JSON).json()
    parts = [raw(each, values) for each, values in zip(inputs, cells(kind, inputs).values(), strict=True)]
    head = {
        "inputs": [
            {key: tensor[key] for key in ("name", "shape", "datatype")}
            | {"parameters": {"binary_data_size": len(part)}}
            for tensor, part in zip(tensors(kind, inputs), parts, strict=True)
        ],
        "parameters": {"binary_data_output": True},
    }
    encoded = json.dumps(head).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(encoded))}
    response = client("POST", INFER, encoded + b"".join(parts), headers)
    assert response.status_code == 200, response.text
    length = int(response.headers["inference-header-content-length"])
    document, data = json.loads(response.content[:length]), response.content[length:]
    for described, expected in zip(document["outputs"], plain["outputs"], strict=True):
        size = described["parameters"]["binary_data_size"]
        assert decoded(described["datatype"], data[:size], expected) == expected["data"]
        data = data[size:]
    assert data == b""


def decoded(datatype: str, data: bytes, expected: dict[str, Any]) -> list[Any]:
    """Binary data as JSON has it."""
    if datatype == "BYTES":
        values = []
        while data:
            (size,) = struct.unpack_from("<I", data)
            values.append(data[4 : 4 + size])
            data = data[4 + size :]
        in_base64 = expected["parameters"]["content_type"] == "base64"
        return [base64.b64encode(value).decode() if in_base64 else value.decode() for value in values]
    dtype = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "BOOL": "?"}[datatype]
    found: list[Any] = np.frombuffer(data, dtype=dtype).tolist()
    return found


FIELDS = {
    "FP64": "fp64_contents",
    "FP32": "fp32_contents",
    "INT64": "int64_contents",
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
}


@pytest.mark.parametrize("as_raw", [False, True], ids=["contents", "raw"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if complete(kind)])
def test_grpc_answers_what_v2_answers(artifacts: dict[str, Artifact], kind: str, as_raw: bool) -> None:
    inputs = artifacts[kind].manifest.inputs
    client = Client(artifacts[kind])
    plain = client("POST", INFER, json.dumps({"inputs": tensors(kind, inputs)}).encode(), JSON).json()
    request = messages.ModelInferRequest(model_name="toy", id="my call")
    for each, tensor, values in zip(inputs, tensors(kind, inputs), cells(kind, inputs).values(), strict=True):
        sent = request.inputs.add(name=each.name, datatype=tensor["datatype"], shape=tensor["shape"])
        if as_raw:
            request.raw_input_contents.append(raw(each, values))
        else:
            getattr(sent.contents, FIELDS[tensor["datatype"]]).extend(contents(each, values))
    response = grpc_infer(artifacts[kind], request, client)
    assert not isinstance(response, grpc.aio.AioRpcError), response
    for at, (tensor, expected) in enumerate(zip(response.outputs, plain["outputs"], strict=True)):
        assert (tensor.name, tensor.datatype, list(tensor.shape)) == (
            expected["name"],
            expected["datatype"],
            expected["shape"],
        )
        if as_raw:
            assert decoded(tensor.datatype, response.raw_output_contents[at], expected) == expected["data"]
        else:
            found = list(getattr(tensor.contents, FIELDS[tensor.datatype]))
            if tensor.datatype == "BYTES":
                in_base64 = expected["parameters"]["content_type"] == "base64"
                found = [base64.b64encode(value).decode() if in_base64 else value.decode() for value in found]
            assert found == expected["data"]


def contents(each: Input, values: list[Any]) -> list[Any]:
    """The values as protobuf has them."""
    if each.dtype == "bytes":
        return [base64.b64decode(value["b64"]) for value in values]
    if each.dtype in ("string", "timestamp"):
        return [value.encode() for value in values]
    return [np.nan if value is None else value for value in np.ravel(np.array(values, dtype=object))]


# -- nulls, categories, ranges ------------------------------------------------------------------------------------


def test_a_nullable_input_may_be_absent(mixed: Client) -> None:
    partial = {name: value for name, value in PENGUIN.items() if name not in ("island", "bill length")}
    whole = PENGUIN | {"island": None, "bill length": None}
    assert predictions(mixed, [partial]) == predictions(mixed, [whole])
    sent = [tensor for tensor in tensors("mixed", graphs.MIXED_INPUTS) if tensor["name"] in partial]
    response = mixed("POST", INFER, json.dumps({"inputs": sent}).encode(), JSON)
    assert response.json()["outputs"][0]["data"] == [3 + 1000 + 8 + 20, 3 + 8 + 20]


def test_an_unknown_category_is_answered_unless_the_signature_is_strict(mixed: Client) -> None:
    assert predictions(mixed, [PENGUIN | {"species": "Emperor"}]) == [-1 + 10 + 40.5 + 1000 + 8 + 20]
    inputs = [Input(name="text", dtype="string", categories=["a", "b"], strict=True)]
    outputs = [Output(name="echo", dtype="string", role="opaque")]
    nodes = [helper.make_node("Squeeze", ["text", "one"], ["echo"])]
    strict = graphs.artifact(
        graphs.signed(inputs, outputs), graphs.graph(inputs, nodes, outputs, {"one": np.array([1])})
    )
    assert predictions(Client(strict), ["a", "b"]) == ["a", "b"]
    assert problem(Client(strict), PREDICT, {"instances": ["a", "c"]}) == (
        "row 1, input \"text\" is 'c', which is not one of its categories."
    )


def test_what_is_counted_of_a_batch(mixed: Client) -> None:
    rows = [
        PENGUIN,
        PENGUIN | {"species": "Emperor", "island": None, "bill length": 99.0},
        PENGUIN | {"island": "Elsewhere", "bill length": None, "year": 1999, "tagged": False},
    ]
    model = mixed.model
    batch = typedrows.read({"instances": rows}, model.signature)
    digest = model.digest(batch, model.predict(batch))
    assert digest.bins.tolist() == [1, 0, 2]
    assert dict(zip(model.names, digest.unknown.tolist(), strict=True)) == dict.fromkeys(model.names, 0) | {
        "species": 1,
        "island": 1,
    }
    assert dict(zip(model.names, digest.missing.tolist(), strict=True)) == dict.fromkeys(model.names, 0) | {
        "island": 1,
        "bill length": 1,
    }
    assert dict(zip(model.names, digest.outside.tolist(), strict=True)) == dict.fromkeys(model.names, 0) | {
        "bill length": 1,
        "year": 1,
    }


def test_predictions_are_counted_by_bin(artifacts: dict[str, Artifact]) -> None:
    client = Client(artifacts["labelled"])
    predictions(client, ROWS["labelled"][0])
    bins = ("Adelie", "Chinstrap", "Gentoo", "other")
    assert [client.value("sabia_predictions_total", bin=each) for each in bins] == [2, 0, 1, 0]


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"species": 1}, 'instances[0]["species"] is a number; a string is needed.'),
        ({"species": None}, 'instances[0]["species"] is null; a string is needed.'),
        ({"bill length": "long"}, 'instances[0]["bill length"] is a string; a number is needed.'),
        ({"bill length": True}, 'instances[0]["bill length"] is a boolean; a number is needed.'),
        ({"bill length": 1e200}, 'row 0, input "bill length" is larger than 1e+100.'),
        ({"year": 2008.5}, 'instances[0]["year"] is 2008.5; a whole number is needed.'),
        ({"year": 2**63}, 'instances[0]["year"] is out of the range of int64.'),
        ({"tagged": 1}, 'instances[0]["tagged"] is a number; true or false is needed.'),
        ({"seen": 20}, 'instances[0]["seen"] is a number; a time of RFC 3339 is needed.'),
        (
            {"seen": "1970-01-01T00:00:20"},
            "instances[0][\"seen\"] is '1970-01-01T00:00:20'; a time of RFC 3339 is needed, with its offset from UTC.",
        ),
        ({"wings": 2}, "instances[0] has an unknown input 'wings'."),
    ],
)
def test_a_refusal_names_the_row_and_the_input(mixed: Client, change: dict[str, Any], sentence: str) -> None:
    assert problem(mixed, PREDICT, {"instances": [PENGUIN | change]}) == sentence


def test_an_input_that_is_not_nullable_must_be_there(mixed: Client) -> None:
    without = {name: value for name, value in PENGUIN.items() if name != "year"}
    assert problem(mixed, PREDICT, {"instances": [without]}) == 'instances[0] lacks input "year".'
    sent = [tensor for tensor in tensors("mixed", graphs.MIXED_INPUTS) if tensor["name"] != "year"]
    assert problem(mixed, INFER, {"inputs": sent}) == '"inputs" lacks input "year".'


@pytest.mark.parametrize(
    ("kind", "at", "change", "sentence"),
    [
        ("mixed", 0, {"datatype": "FP64"}, 'inputs[0].datatype is FP64; input "species" is BYTES.'),
        ("mixed", 3, {"datatype": "FP64"}, 'inputs[3].datatype is FP64; input "year" is INT64.'),
        ("mixed", 0, {"name": "kind"}, "inputs[0].name is 'kind'; the name of an input is needed."),
        ("mixed", 0, {"shape": [2, 2]}, "inputs[0].shape is [2, 2]; [rows] is needed."),
        ("mixed", 0, {"shape": [3, 1]}, "inputs[0].shape is [3, 1]; the data has 2 values."),
        ("mixed", 0, {"data": ["a"], "shape": [1, 1]}, '"inputs" must all have the same number of rows.'),
        ("mixed", 0, {"data": [1, 2]}, "inputs[0].data[0] is not text; a string is needed."),
        ("image", 0, {"shape": [2, 48]}, "inputs[0].shape is [2, 48]; [rows, 3, 4, 4] is needed."),
        ("image", 0, {"shape": [2, 3, 4, 5]}, "inputs[0].shape is [2, 3, 4, 5]; [rows, 3, 4, 4] is needed."),
        ("tokens", 0, {"shape": [2]}, "inputs[0].shape is [2]; [rows, any] is needed."),
        ("tokens", 0, {"data": [], "shape": [0, 3]}, "inputs[0].data is empty; send at least one row."),
    ],
)
def test_a_refused_tensor_is_named(
    artifacts: dict[str, Artifact], kind: str, at: int, change: dict[str, Any], sentence: str
) -> None:
    sent = tensors(kind, artifacts[kind].manifest.inputs)
    sent[at] |= change
    assert problem(Client(artifacts[kind]), INFER, {"inputs": sent}) == sentence


@pytest.mark.parametrize(
    ("kind", "instances", "sentence"),
    [
        ("image", [[[1.0]]], "instances[0] has 1 values at depth 0; lists of shape [3, 4, 4] are needed."),
        ("image", [5], 'instances[0]["image"] is a number at depth 0; lists of shape [3, 4, 4] are needed.'),
        ("tokens", [[1], [1, 2]], 'instances[1]["ids"] has the shape [2], a row before it [1].'),
        ("tokens", [[1, "2"]], 'instances[0]["ids"] is a string; a whole number is needed.'),
        ("blob", [{"b64": "?"}], 'instances[0]["blob"] is not base64.'),
        ("text", [["a", "b"]], "instances[0] has 2 values; 1 are needed."),
    ],
)
def test_a_refused_tensor_of_v1_is_named(
    artifacts: dict[str, Artifact], kind: str, instances: Any, sentence: str
) -> None:
    found = problem(Client(artifacts[kind]), PREDICT, {"instances": instances})
    assert found == sentence.replace("instances[0] has 1 values", 'instances[0]["image"] has 1 values')


def test_a_value_that_the_training_rows_do_not_have_is_the_clients_fault_when_the_graph_fails_on_it(
    artifacts: dict[str, Artifact],
) -> None:
    client = Client(artifacts["tokens"])
    sentence = 'row 0, input "ids" is outside its range, and the model fails on it.'
    assert problem(client, PREDICT, {"instances": [[1, 99]]}) == sentence
    assert client.value("sabia_requests_total", status_class="5xx") == 0


# -- names, outputs, metadata ----------------------------------------------------------------------------------------


def test_floats_may_come_as_one_tensor(artifacts: dict[str, Artifact]) -> None:
    client = Client(artifacts["labelled"])
    tensor = {"name": "features", "shape": [2, 2], "datatype": "FP32", "data": [40, 0, 0, 40]}
    response = client("POST", INFER, json.dumps({"inputs": [tensor]}).encode(), JSON)
    assert response.json()["outputs"][0]["data"] == ["Adelie", "Gentoo"]


def test_features_stands_for_the_only_input(artifacts: dict[str, Artifact]) -> None:
    client = Client(artifacts["image"])
    (tensor,) = tensors("image", artifacts["image"].manifest.inputs)
    response = client("POST", INFER, json.dumps({"inputs": [tensor | {"name": "features"}]}).encode(), JSON)
    assert response.json()["outputs"][0]["data"] == np.ravel(ROWS["image"][1]).tolist()


def test_a_client_gets_the_outputs_that_it_names(artifacts: dict[str, Artifact]) -> None:
    client = Client(artifacts["labelled"])
    tensor = {"name": "features", "shape": [1, 2], "datatype": "FP32", "data": [40, 0]}

    def outputs(*names: str) -> Any:
        body = {"inputs": [tensor], "outputs": [{"name": name} for name in names]}
        return client("POST", INFER, json.dumps(body).encode(), JSON).json()

    assert [each["name"] for each in outputs("probabilities")["outputs"]] == ["probabilities"]
    assert outputs("prediction")["outputs"][0]["data"] == ["Adelie"]
    assert outputs("wing")["error"] == 'outputs[0].name is \'wing\'; the model has "label", "probabilities".'


def test_the_metadata_is_the_signature(mixed: Client, artifacts: dict[str, Artifact]) -> None:
    document = mixed("GET", "/v2/models/toy").json()
    assert [(each["name"], each["datatype"], each["shape"]) for each in document["inputs"]] == [
        ("species", "BYTES", [-1, 1]),
        ("island", "BYTES", [-1, 1]),
        ("bill length", "FP64", [-1, 1]),
        ("year", "INT64", [-1, 1]),
        ("tagged", "BOOL", [-1, 1]),
        ("seen", "BYTES", [-1, 1]),
    ]
    assert document["inputs"][0]["parameters"]["categories"] == CLASSES
    assert [(each["name"], each["datatype"], each["shape"]) for each in document["outputs"]] == [
        ("prediction", "FP64", [-1])
    ]
    labelled = Client(artifacts["labelled"])("GET", "/v2/models/toy").json()
    assert [(each["name"], each["shape"]) for each in labelled["inputs"]] == [("features", [-1, 2])]
    assert [(each["name"], each["datatype"], each["shape"]) for each in labelled["outputs"]] == [
        ("label", "BYTES", [-1]),
        ("probabilities", "FP32", [-1, 3]),
    ]


def test_methods_of_a_typed_signature_are_not_explained(mixed: Client) -> None:
    response = mixed("POST", EXPLAIN, json.dumps({"instances": [PENGUIN]}).encode(), JSON)
    assert response.status_code == 405


def test_a_predicted_label_can_be_made_wrong_on_purpose(artifacts: dict[str, Artifact]) -> None:
    client = Client(artifacts["labelled"], Settings(faults="wrong=1"))
    assert [each["label"] for each in predictions(client, ROWS["labelled"][0])] == ["Chinstrap", "Adelie", "Chinstrap"]


# -- publishing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "outputs", "sentence"),
    [
        ([Input(name="words", dtype="string")], None, "model.onnx has no input 'words'"),
        ([Input(name="text", dtype="float64")], None, "input 'text' is float64, and tensor(string) in model.onnx"),
        ([Input(name="text", dtype="string", shape=[None, 3])], None, "input 'text' has the shape"),
        (
            [Input(name="text", dtype="string"), Input(name="more", dtype="string")],
            None,
            "model.onnx has no input 'more'",
        ),
        (None, [Output(name="reply", dtype="string", role="opaque")], "model.onnx has no output 'reply'"),
        (None, [Output(name="echo", dtype="float64", role="value")], "output 'echo' is float64, and tensor(string)"),
        (None, [Output(name="echo", dtype="string", shape=[None, 2], role="opaque")], "fails on a row"),
    ],
)
def test_a_draft_that_could_not_be_served_gets_no_number(
    artifacts: dict[str, Artifact], inputs: list[Input] | None, outputs: list[Output] | None, sentence: str
) -> None:
    manifest = artifacts["text"].manifest
    signature = graphs.signed(inputs or manifest.inputs, outputs or manifest.outputs)
    with pytest.raises(LoadFailed) as failure:
        check_draft(graphs.draft(signature, artifacts["text"].files["model.onnx"]))
    assert sentence in str(failure.value)


# -- plain rows --------------------------------------------------------------------------------------------------------

CELLS: dict[str, st.SearchStrategy[Any]] = {
    "species": st.sampled_from([*CLASSES, "Emperor"]) | st.text(),
    "island": st.sampled_from(["Dream", "Biscoe", None]) | st.text(),
    "bill length": st.none() | st.floats(30, 60) | st.integers(30, 60),
    "year": st.integers(2000, 2010),
    "tagged": st.booleans(),
    "seen": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
}
ODD = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
)


@pytest.fixture(scope="module")
def fast(artifacts: dict[str, Artifact]) -> tuple[Client, PlainRows]:
    """A client of the version with mixed inputs, and the parser of its plain rows."""
    client = Client(artifacts["mixed"])
    return client, PlainRows(client.model)


def parsed(client: Client, plain: PlainRows, rows: list[Any]) -> tuple[Any, Any]:
    """What the parser of plain rows makes of rows, or None; and what the parser of anything does, or its sentence."""
    body = json.dumps({"instances": rows}).encode()
    request = Request(b"POST", PREDICT.encode(), {}, body, 0.0)
    try:
        slow: Any = typed.parse_predict(request, client.model).rows
    except InvalidInput as error:
        slow = str(error)
    try:
        job = plain.parse(request, client.model)
    except InvalidInput as error:
        return str(error), slow
    return None if job is None else job.rows, slow


def assert_same(one: Batch, other: Batch) -> None:
    assert one.columns.keys() == other.columns.keys()
    for name, column in one.columns.items():
        assert column.dtype == other.columns[name].dtype
        np.testing.assert_array_equal(column, other.columns[name])
    assert one.nulls.keys() == other.nulls.keys()
    for name, mask in one.nulls.items():
        assert mask.tolist() == other.nulls[name].tolist()


@given(rows=st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=3), as_lists=st.booleans())
def test_plain_rows_are_read_as_the_slow_parser_reads_them(
    fast: tuple[Client, PlainRows], rows: list[dict[str, Any]], as_lists: bool
) -> None:
    plain, slow = parsed(*fast, [[row[name] for name in CELLS] if as_lists else row for row in rows])
    assert isinstance(plain, Batch), slow
    assert_same(plain, slow)


@given(name=st.sampled_from(list(CELLS)), cell=ODD, count=st.integers(1, 2))
def test_what_the_slow_parser_refuses_no_parser_takes(
    fast: tuple[Client, PlainRows], name: str, cell: Any, count: int
) -> None:
    plain, slow = parsed(*fast, [PENGUIN | {name: cell}] * count)
    if isinstance(slow, str):
        assert plain in (None, slow)
    elif plain is not None:
        assert_same(plain, slow)


def tensor_of(name: str, cell: Any) -> dict[str, Any]:
    datatype = {"bill length": "FP64", "year": "INT64", "tagged": "BOOL"}.get(name, "BYTES")
    return {"name": name, "shape": [1], "datatype": datatype, "data": [cell]}


def parsed_tensors(client: Client, inputs: list[dict[str, Any]]) -> tuple[Batch | None, Any]:
    """What the parser of one plain row makes of tensors, or None; and what that of anything does, or its sentence."""
    request = Request(b"POST", INFER.encode(), {}, json.dumps({"inputs": inputs}).encode(), 0.0)
    job = PlainTensors(client.model).parse(request, client.model)
    plain = None if job is None else job.rows
    try:
        return plain, typed.parse_infer(request, client.model).rows
    except InvalidInput as error:
        return plain, str(error)


@given(row=st.fixed_dictionaries(CELLS), order=st.permutations(list(CELLS)), shape=st.sampled_from([[1], [1, 1]]))
def test_plain_tensors_are_read_as_the_slow_parser_reads_them(
    fast: tuple[Client, PlainRows], row: dict[str, Any], order: list[str], shape: list[int]
) -> None:
    plain, slow = parsed_tensors(fast[0], [tensor_of(name, row[name]) | {"shape": shape} for name in order])
    assert plain is not None
    assert_same(plain, slow)


@given(
    name=st.sampled_from(list(CELLS)),
    cell=ODD,
    change=st.sampled_from(
        [
            {},
            {"shape": [2]},
            {"shape": [-1]},
            {"shape": [1, 2]},
            {"datatype": "FP32"},
            {"datatype": "INT8"},
            {"datatype": "bytes"},
            {"name": "year"},
            {"name": "features"},
            {"parameters": {"content_type": "base64"}},
            {"parameters": {}},
            {"data": []},
            {"data": 1},
        ]
    ),
)
def test_tensors_that_the_slow_parser_refuses_no_parser_takes(
    fast: tuple[Client, PlainRows], name: str, cell: Any, change: dict[str, Any]
) -> None:
    row = PENGUIN | {name: cell}
    plain, slow = parsed_tensors(
        fast[0], [tensor_of(each, row[each]) | (change if each == name else {}) for each in CELLS]
    )
    if plain is not None:
        assert_same(plain, slow)


@pytest.mark.parametrize("left_out", list(CELLS))
def test_a_row_that_lacks_a_tensor_is_not_plain(fast: tuple[Client, PlainRows], left_out: str) -> None:
    given = [tensor_of(name, PENGUIN[name]) for name in CELLS if name != left_out]
    assert parsed_tensors(fast[0], given)[0] is None
    assert parsed_tensors(fast[0], [*given, given[0]])[0] is None


def test_a_plain_row_of_tensors_gets_the_response_of_any_other(mixed: Client) -> None:
    inputs = [tensor_of(name, PENGUIN[name]) for name in CELLS]
    document = {"inputs": inputs, "id": "seven"}
    plain = mixed("POST", INFER, json.dumps(document).encode(), JSON)
    slow = mixed("POST", INFER, json.dumps(document | {"parameters": {}}).encode(), JSON)
    assert (plain.status_code, plain.json()) == (200, slow.json())


# -- in a process of the user's ----------------------------------------------------------------------------------------


def test_columns_are_predicted_as_rows_are(mixed: Client) -> None:
    columns = {
        "species": ["Gentoo", "Gentoo"],
        "island": np.array(["Dream", None], dtype=object),
        "bill length": [40.5, None],
        "year": np.array([2008, 2008]),
        "tagged": [True, False],
        "seen": np.array(["1970-01-01T00:00:20"] * 2, dtype="datetime64[s]"),
    }
    assert mixed.model.predict(columns)["prediction"].tolist() == ROWS["mixed"][1]
    del columns["island"]
    assert mixed.model.predict(columns)["prediction"][1] == ROWS["mixed"][1][1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"wings": [2]}, "The columns have an unknown input 'wings'."),
        ({"year": [None]}, 'input "year" is null, and may not be.'),
        ({"year": ["then"]}, 'input "year" has values that are not int64.'),
        ({"year": [2007, 2008]}, 'input "species" has 1 rows; others have 2.'),
    ],
)
def test_columns_that_are_wrong_are_named(mixed: Client, change: dict[str, Any], sentence: str) -> None:
    columns = {name: [value] for name, value in PENGUIN.items()} | {"seen": [20_000_000]}
    with pytest.raises(InvalidInput) as refused:
        mixed.model.predict(columns | change)
    assert str(refused.value) == sentence
