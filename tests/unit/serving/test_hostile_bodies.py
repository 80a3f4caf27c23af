"""No bytes that a client can send are the version's failure, whatever the protocol and the signature."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.registry.verification import Artifact
from sabia.serving.errors import as_client_error
from sabia.serving.http.messages import Request, Response
from sabia.serving.log.log import InferenceLog
from sabia.serving.protocols import grpc as grpc_protocol
from sabia.serving.protocols import messages
from sabia.serving.settings import Settings
from sabia.store.objects import Store
from tests.unit.serving.clients import Client
from tests.unit.serving.graphs import KINDS
from tests.unit.serving.test_typed import ROWS

# Texts in place of a value of a body: numbers of any length, and what JSON has besides.
DIGITS = st.sampled_from([1, 17, 19, 20, 309, 310, 400, 4299, 4300, 4301, 5000])
NUMBERS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.builds(lambda digit, count: digit * count, st.sampled_from("19"), DIGITS),
    st.sampled_from(["", ".5", "." + "7" * 400]),
    st.sampled_from(["", "e5", "E-5", "e308", "e309", "e-400", "e99999"]),
)
TEXTS = st.sampled_from(
    [
        *(
            "null",
            "true",
            "false",
            "[]",
            "{}",
            "[[]]",
            "[[[]]]",
            "[null]",
            '[{"b64": "?"}]',
            '{"b64": ""}',
            '{"b64": 1}',
            '""',
        ),
        *(
            r'"\ud800"',
            r'"\u0000"',
            '"é"',
            '"NaN"',
            "NaN",
            "Infinity",
            "-0",
            "1e400",
            "-",
            "01",
            '"' + "x" * 70_000 + '"',
        ),
        *('"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59+23:59"', '"1970-01-01T00:00:60Z"', '"2024-02-30T00:00:00Z"'),
        *(
            "[-1]",
            "[0, 30]",
            "[9223372036854775807]",
            "[18446744073709551616]",
            "[1, 1, 1, 1, 1, 1, 1, 1]",
            '"FP64"',
            '"BYTES"',
        ),
        *(
            '"INT64"',
            '"UINT64"',
            '"BOOL"',
            '{"binary_data_size": 8}',
            '{"binary_data": true}',
            '{"content_type": "base64"}',
        ),
    ]
)
VALUES = st.one_of(NUMBERS, TEXTS, st.text(max_size=8).map(json.dumps))
MARK = "\ufdd0"  # a string in place of a value, until the text of a hostile one replaces it
HEADERS = st.sampled_from(
    [
        {},
        {b"content-type": b"application/json"},
        {b"content-type": b"application/cloudevents+json"},
        {b"content-type": b"application/octet-stream"},
        {b"content-type": b"text/plain"},
        {b"content-encoding": b"gzip"},
        {b"ce-specversion": b"1.0", b"ce-id": b"1", b"ce-source": b"x", b"ce-type": b"y"},
        {b"ce-id": b"1"},
    ]
)
LENGTHS = st.sampled_from([None, b"0", b"1", b"40", b"999", b"-1", b"9" * 12, b"9" * 30, b"1e3", b"\xff"])
KIND_NAMES = ["scalar", *KINDS]


@pytest.fixture(scope="module")
def artifacts(logistic: Artifact) -> dict[str, Artifact]:
    """A version of each kind."""
    return {"scalar": logistic} | {kind: make() for kind, make in KINDS.items()}


@pytest.fixture(scope="module")
def clients(artifacts: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Client]:
    """A server of each kind, with its inference log."""
    return {kind: logged(artifact, tmp_path_factory) for kind, artifact in artifacts.items()}


def logged(artifact: Artifact, folders: pytest.TempPathFactory) -> Client:
    """A server whose log is written, so that what cannot be logged is found as well."""
    settings = Settings(log="memory://", log_server="s", log_spool=str(folders.mktemp("spool")))
    client = Client(artifact, settings)
    store = Store.open("memory://")
    client.app.recorder.log = InferenceLog(client.model, settings, client.metrics, lambda: store)
    client.app.recorder.log.start()
    return client


def instances(kind: str, rows: int) -> list[Any]:
    """Valid rows."""
    found = [[1.0] * 30] if kind == "scalar" else ROWS[kind][0]
    return [found[at % len(found)] for at in range(rows)]


def tensors(client: Client) -> list[Any]:
    """Valid tensors of one row, or nearly: those that the metadata describes."""
    described = client("GET", f"/v2/models/{client.model.name}").json()["inputs"]
    texts = {"BYTES": "a", "BOOL": True}
    return [
        {
            "name": each["name"],
            "shape": (shape := [max(length, 1) for length in each["shape"]]),
            "datatype": each["datatype"],
            "data": [texts.get(each["datatype"], 1)] * _product(shape),
        }
        for each in described
    ]


def _product(shape: list[int]) -> int:
    found = 1
    for length in shape:
        found *= length
    return found


@st.composite
def spoiled(draw: st.DrawFn, document: Any) -> bytes:
    """A document with a hostile value at some of its places, or cut, or with bytes that belong to nothing."""
    document = copy.deepcopy(document)
    replacements = []
    for _ in range(draw(st.integers(0, 2))):
        holder, key = draw(st.sampled_from(_places(document)))
        holder[key] = MARK
        replacements.append(draw(VALUES))
    text = json.dumps(document, ensure_ascii=False)
    for value in replacements:
        text = text.replace(f'"{MARK}"', value, 1)
    body = text.encode("utf-8", "surrogatepass")
    if draw(st.booleans()):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=9)) + body[at + draw(st.integers(0, 3)) :]
    return body


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every place of a document: what holds it, and its key or index there."""
    found: list[tuple[Any, Any]] = []
    if isinstance(document, dict | list):
        for key in document if isinstance(document, dict) else range(len(document)):
            found += [(document, key), *_places(document[key])]
    return found


def ask(client: Client, path: str, body: bytes, headers: dict[bytes, bytes]) -> Response:
    """The response to a request, as a connection gets it."""
    return responded(client, Request(b"POST", path.encode(), {b"host": b"x"} | headers, body, perf_counter()))


def responded(client: Client, request: Request, call: Any = None) -> Response:
    """The response to a request that is answered now or later, recorded and flushed."""

    async def run() -> Response:
        found = client.app.respond(request) if call is None else client.app.recorded(request, call)
        response = found if isinstance(found, Response) else await found
        client.app.recorder.flush()
        return response

    return asyncio.run(run())


def failures(client: Client) -> float:
    """Requests that were counted as failures of the version."""
    labels = {"model": client.model.name, "version": client.model.version, "route": "split", "status_class": "5xx"}
    return client.sample("sabia_requests_total", labels) or 0.0


@pytest.mark.parametrize("digits", [309, 310, 400, 4299, 4300, 4301, 100_000])
@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("form", ["list", "object", "inputs", "event", "rows"])
def test_a_number_of_hundreds_of_digits_is_the_clients_in_every_form(
    clients: dict[str, Client], form: str, sign: str, digits: int
) -> None:
    client, number = clients["scalar"], sign + "1" + "0" * (digits - 1)
    names = client.model.names
    row = "[" + ", ".join([number, *["1"] * 29]) + "]"
    named = "{" + ", ".join(f'"{name}": {number if at == 0 else 1}' for at, name in enumerate(names)) + "}"
    event = f'{{"specversion": "1.0", "id": "1", "source": "x", "type": "y", "data": {{"instances": [{row}]}}}}'
    bodies = {
        "list": f'{{"instances": [{row}]}}',
        "object": f'{{"instances": [{named}]}}',
        "inputs": f'{{"inputs": [{row}], "x": 1}}',
        "event": event,
        "rows": f'{{"instances": [{row}, {row}]}}',
    }
    kind = b"application/cloudevents+json" if form == "event" else b"application/json"
    for verb in ("predict", "explain"):
        path = f"/v1/models/{client.model.name}:{verb}"
        found = ask(client, path, bodies[form].encode(), {b"content-type": kind})
        assert found.status == 400, found.body[:200]
    assert failures(client) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KIND_NAMES)
@given(st.data())
def test_no_body_of_v1_is_a_failure(clients: dict[str, Client], kind: str, data: st.DataObject) -> None:
    client = clients[kind]
    rows = data.draw(st.sampled_from([1, 1, 2]))
    key = data.draw(st.sampled_from(["instances", "inputs"]))
    document: dict[str, Any] = {key: instances(kind, rows)}
    if data.draw(st.booleans()):
        document = {"specversion": "1.0", "id": "1", "source": "x", "type": "y", "data": document}
    verb = data.draw(st.sampled_from(["predict", "predict", "explain"]))
    body, headers = data.draw(spoiled(document)), data.draw(HEADERS)
    response = ask(client, f"/v1/models/{client.model.name}:{verb}", body, headers)
    assert response.status < 500, response.body[:300]
    assert failures(client) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KIND_NAMES)
@given(st.data())
def test_no_body_of_v2_is_a_failure(clients: dict[str, Client], kind: str, data: st.DataObject) -> None:
    client = clients[kind]
    document: dict[str, Any] = {"id": "1", "inputs": tensors(client), "parameters": {"binary_data_output": True}}
    document["outputs"] = [{"name": "prediction", "parameters": {"binary_data": True}}]
    headers = dict(data.draw(HEADERS))
    length = data.draw(LENGTHS)
    if data.draw(st.booleans()):
        tail = data.draw(st.binary(max_size=40))
        document["inputs"][0] = {k: v for k, v in document["inputs"][0].items() if k != "data"}
        document["inputs"][0]["parameters"] = {"binary_data_size": data.draw(st.sampled_from([0, 8, len(tail), 240]))}
        body = data.draw(spoiled(document))
        headers[b"inference-header-content-length"] = str(len(body)).encode() if length is None else length
        body += tail
    else:
        body = data.draw(spoiled(document))
        if length is not None:
            headers[b"inference-header-content-length"] = length
    response = ask(client, f"/v2/models/{client.model.name}/infer", body, headers)
    assert response.status < 500, response.body[:300]
    assert failures(client) == 0


CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "fp64_contents": st.lists(st.floats(), max_size=31),
        "fp32_contents": st.lists(st.floats(width=32), max_size=31),
        "int64_contents": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
        "uint64_contents": st.lists(st.integers(0, 2**64 - 1), max_size=4),
        "int_contents": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4),
        "bool_contents": st.lists(st.booleans(), max_size=4),
        "bytes_contents": st.lists(st.binary(max_size=8), max_size=4),
    },
)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KIND_NAMES)
@given(st.data())
def test_no_message_of_grpc_is_a_failure(clients: dict[str, Client], kind: str, data: st.DataObject) -> None:
    client = clients[kind]
    names = [each["name"] for each in tensors(client)]
    infer = messages.ModelInferRequest(
        model_name=data.draw(st.sampled_from([client.model.name, client.model.name, "other"])),
        model_version=data.draw(st.sampled_from(["", "", "9.9"])),
        id=data.draw(st.text(max_size=4).filter(_is_text)),
    )
    for name in data.draw(st.sampled_from([names, names, [*names, "x"], names[:1]])):
        shape = data.draw(st.sampled_from([[1], [1, 1], [1, 30], [0], [-1], [2**62, 4], [1] * 9]))
        kinds = st.sampled_from(["FP64", "FP32", "INT64", "UINT64", "BOOL", "BYTES", "FP16", "fp64", "", "X"])
        contents = messages.InferTensorContents(**data.draw(CONTENTS))
        infer.inputs.add(name=name, shape=shape, datatype=data.draw(kinds), contents=contents)
        if data.draw(st.booleans()):
            infer.raw_input_contents.append(data.draw(st.binary(max_size=16)))
    body = infer.SerializeToString()
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(body)))
        body = body[:at] + data.draw(st.binary(max_size=4)) + body[at + 1 :]
    request = Request(b"POST", b"", {}, body, perf_counter())
    response = responded(client, request, lambda asked, _: client.app.infer(asked, grpc_protocol.parse))
    assert response.status < 500, response.body[:300]
    assert failures(client) == 0


def _is_text(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def test_errors_of_clients_are_not_logged_with_tracebacks(
    clients: dict[str, Client], caplog: pytest.LogCaptureFixture
) -> None:
    client = clients["scalar"]
    body = b'{"instances": [[1' + b"0" * 400 + b"]]}"
    with caplog.at_level(logging.DEBUG):
        for _ in range(50):
            ask(client, f"/v1/models/{client.model.name}:predict", body, {})
    found = [record for record in caplog.records if record.name.startswith("sabia")]
    assert not any(record.exc_info for record in found)
    assert len(found) <= 1


def test_an_error_that_no_parser_foresaw_is_one_line_in_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        assert as_client_error(OverflowError("too large")).http_status == 400
    assert len(caplog.records) <= 1
