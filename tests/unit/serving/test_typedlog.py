"""The inference log and the metrics of models of any signature: typed columns, by every protocol."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sabia.contract.inferencelog import LOG_COLUMNS, log_columns, log_prefix
from sabia.registry.verification import Artifact
from sabia.serving.inference.typed import TypedModel
from sabia.serving.log.log import InferenceLog
from sabia.serving.log.values import ValuesOf
from sabia.serving.protocols import messages
from sabia.serving.settings import Settings
from sabia.store.objects import Store
from tests.unit.serving import graphs
from tests.unit.serving.clients import JSON, Client
from tests.unit.serving.test_grpc import infer

SECONDS = 30.0
SEEN = "2026-03-01T12:00:00Z"
ROW = {"species": "Gentoo", "island": None, "bill length": None, "year": 2008, "tagged": True, "seen": SEEN}
LOGGED_ROW = {
    "species": "Gentoo",
    "island": None,
    "bill_length": None,
    "year": 2008,
    "tagged": True,
    "seen": datetime(2026, 3, 1, 12, tzinfo=UTC),
}


class Logged:
    """A version called `toy` whose requests are logged."""

    def __init__(self, artifact: Artifact, **settings: Any) -> None:
        self.store = Store.open("memory://")
        config = Settings(log="memory://", log_server="server-0", **settings)
        self.client = Client(artifact, config)
        self.log = InferenceLog(self.client.model, config, self.client.metrics, lambda: self.store)
        self.client.app.recorder.log = self.log
        self.log.start()

    def v1(self, *instances: Any, headers: dict[str, str] | None = None) -> Any:
        """The predictions of a V1 request."""
        body = json.dumps({"instances": instances}).encode()
        response = self.client("POST", "/v1/models/toy:predict", body, JSON | (headers or {}))
        assert response.status_code == 200, response.text
        return response.json()["predictions"]

    def v2(self, inputs: list[dict[str, Any]]) -> Any:
        """The outputs of a V2 request."""
        response = self.client("POST", "/v2/models/toy/infer", json.dumps({"inputs": inputs}).encode(), JSON)
        assert response.status_code == 200, response.text
        return response.json()["outputs"]

    def tables(self) -> list[pa.Table]:
        """The files, once the log is closed."""
        self.client.app.close()
        self.log.close(SECONDS)
        return [pq.read_table(io.BytesIO(self.store.get(each.key))) for each in self.store.list(log_prefix("toy"))]

    def rows(self) -> list[dict[str, Any]]:
        """Every record, in the order of their times."""
        rows = [row for table in self.tables() for row in table.to_pylist()]
        return sorted(rows, key=lambda row: (row["ts"], row["row"]))

    def value(self, metric: str, **labels: str) -> float | None:
        """A metric's value now."""
        if metric == "sabia_predictions_total":
            labels |= {"route": "split"}
        return self.client.sample(metric, {"model": "toy", "version": "1.0", **labels})


def values(row: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a record."""
    return {name: value for name, value in row.items() if name not in LOG_COLUMNS}


@pytest.mark.parametrize("kind", sorted(graphs.KINDS))
def test_a_file_has_the_columns_and_types_of_the_signature(kind: str) -> None:
    artifact = graphs.KINDS[kind]()
    logged = Logged(artifact)
    logged.client("POST", "/v1/models/toy:predict", b"{}", JSON)
    (table,) = logged.tables()
    types = {
        "string": pa.string(),
        "integer": pa.int64(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
        "floats": pa.list_(pa.field("element", pa.float32())),
        "doubles": pa.list_(pa.field("element", pa.float64())),
    }
    expected = {name: types[kind] for name, kind in log_columns(artifact.manifest.signature).items()}
    assert {each.name: each.type for each in table.schema} == expected


def test_a_mixed_row_is_logged_as_it_was_sent_with_null_where_it_was_null() -> None:
    logged = Logged(graphs.mixed())
    (prediction,) = logged.v1(ROW, headers={"x-request-id": "abc"})
    (row,) = logged.rows()
    assert values(row) == LOGGED_ROW
    assert (row["request_id"], row["row"], row["status"]) == ("abc", 0, 200)
    assert row["prediction"] == prediction
    assert (row["predicted_class"], row["scores"], row["prediction_digest"]) == (None, None, None)


def test_a_request_that_was_refused_between_others_has_no_values() -> None:
    logged = Logged(graphs.mixed())
    logged.v1(ROW)
    logged.client("POST", "/v1/models/toy:predict", b'{"instances": [{}]}', JSON)
    logged.v1(ROW | {"year": 2009}, ROW)
    first, refused, *rest = logged.rows()
    assert refused["status"] == 400
    assert set(values(refused).values()) == {None}
    assert refused["prediction"] is None
    assert [values(row)["year"] for row in (first, *rest)] == [2008, 2009, 2008]
    assert [row["row"] for row in rest] == [0, 1]


@given(st.lists(st.sampled_from([0, 1, 3]), max_size=150), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_every_row_is_in_its_own_record_whatever_is_between(counts: list[int], seed: int) -> None:
    # Rows of requests of one are gathered, those of several are not, and a request without rows is refused.
    logged, source = Logged(graphs.mixed()), np.random.default_rng(seed)
    expected: dict[tuple[str, int], Any] = {}
    for at, count in enumerate(counts):
        if not count:
            logged.client("POST", "/v1/models/toy:predict", b"{}", JSON | {"x-request-id": f"request-{at}"})
            expected[f"request-{at}", 0] = (None, None)
            continue
        sent = [(int(year), None if year % 3 else year / 2) for year in source.integers(1900, 2100, count)]
        rows = [ROW | {"year": year, "bill length": bill} for year, bill in sent]
        logged.v1(*rows, headers={"x-request-id": f"request-{at}"})
        expected |= {(f"request-{at}", place): values for place, values in enumerate(sent)}
    assert {(row["request_id"], row["row"]): (row["year"], row["bill_length"]) for row in logged.rows()} == expected


def v1_mixed(logged: Logged) -> None:
    """A row by V1."""
    logged.v1(ROW | {"island": "Dream", "bill length": 40.5}, headers={"x-request-id": "by V1"})


def v2_tensors() -> list[dict[str, Any]]:
    """The same row as V2 tensors."""
    cells = {"species": ("BYTES", "Gentoo"), "island": ("BYTES", "Dream"), "bill length": ("FP64", 40.5)}
    cells |= {"year": ("INT64", 2008), "tagged": ("BOOL", True), "seen": ("BYTES", SEEN)}
    return [
        {"name": name, "shape": [1, 1], "datatype": datatype, "data": [value]}
        for name, (datatype, value) in cells.items()
    ]


def v2_mixed(logged: Logged) -> None:
    """A row by V2."""
    logged.v2(v2_tensors())


def grpc_mixed(logged: Logged) -> None:
    """A row by gRPC."""
    fields = {"BYTES": "bytes_contents", "FP64": "fp64_contents", "INT64": "int64_contents", "BOOL": "bool_contents"}
    tensors = []
    for each in v2_tensors():
        data = [value.encode() if isinstance(value, str) else value for value in each.pop("data")]
        contents = messages.InferTensorContents(**{fields[each["datatype"]]: data})
        tensors.append(messages.ModelInferRequest.InferInputTensor(**each, contents=contents))
    request = messages.ModelInferRequest(model_name="toy", inputs=tensors)
    response = infer(logged.client.artifact, request, logged.client)
    assert list(response.outputs[0].contents.fp64_contents) != []


@pytest.mark.parametrize("send", [v1_mixed, v2_mixed, grpc_mixed])
def test_a_mixed_row_is_logged_the_same_by_every_protocol(send: Callable[[Logged], None]) -> None:
    logged = Logged(graphs.mixed())
    send(logged)
    (row,) = logged.rows()
    assert values(row) == LOGGED_ROW | {"island": "Dream", "bill_length": 40.5}
    assert row["status"] == 200
    # Gentoo is 3, Dream 10, the bill 40.5, a tag 1000, the year 8, and the time in seconds.
    assert row["prediction"] == 3 + 10 + 40.5 + 1000 + 8 + datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()


def test_a_class_is_logged_with_the_probability_of_each() -> None:
    logged = Logged(graphs.labelled())
    (prediction,) = logged.v1([0.0, 2.0])
    (row,) = logged.rows()
    assert row["predicted_class"] == prediction["label"] == "Gentoo"
    assert row["scores"] == pytest.approx(list(prediction["probabilities"].values()), abs=1e-6)
    assert row["prediction"] is None
    assert values(row) == {"bill_length": 0.0, "bill_depth": 2.0}


def test_a_class_that_is_a_number_is_logged_as_its_name() -> None:
    logged = Logged(graphs.blob())
    logged.v1({"b64": "YWI="})
    (row,) = logged.rows()
    assert row["predicted_class"] == "1"
    assert values(row) == {"blob": hashlib.sha256(b"ab").hexdigest()}


def test_a_vector_is_in_the_scores_and_a_short_tensor_is_a_list() -> None:
    logged = Logged(graphs.image())
    pixels = np.arange(48, dtype=np.float32).reshape(3, 4, 4)
    logged.v1(pixels.tolist())
    (row,) = logged.rows()
    assert row["scores"] == pixels.mean(axis=(1, 2)).tolist()
    assert values(row) == {"image": pixels.ravel().tolist()}


def test_a_tensor_of_any_length_is_logged_as_a_digest() -> None:
    logged = Logged(graphs.tokens())
    logged.v1([1, 2, 3])
    (row,) = logged.rows()
    assert values(row) == {"ids": hashlib.sha256(np.array([1, 2, 3], dtype="<i8").tobytes()).hexdigest()}
    assert row["prediction"] == 14.0


def test_an_opaque_output_is_logged_as_a_digest() -> None:
    logged = Logged(graphs.text())
    logged.v1("größe")
    (row,) = logged.rows()
    assert row["prediction_digest"] == hashlib.sha256("größe".encode()).hexdigest()
    assert values(row) == {"text": "größe"}


def test_several_values_are_all_in_the_scores() -> None:
    logged = Logged(graphs.several())
    logged.v1({"x": 1.5, "name": "a"})
    (row,) = logged.rows()
    assert (row["prediction"], row["scores"]) == (3.0, [3.0, 4.5])


def logged_by(artifact: Artifact, **choices: str) -> Artifact:
    """The version with other choices of what the log keeps of its inputs."""
    inputs = [
        msgspec.structs.replace(each, log=choices.get(each.name.replace(" ", "_"), "column"))
        for each in artifact.manifest.inputs
    ]
    return replace(artifact, manifest=msgspec.structs.replace(artifact.manifest, inputs=inputs))


def test_inputs_are_hashed_or_left_out_as_the_signature_says() -> None:
    artifact = logged_by(graphs.mixed(), species="hash", island="hash", year="hash", seen="none", bill_length="none")
    logged = Logged(artifact)
    logged.v1(ROW)
    (row,) = logged.rows()
    assert values(row) == {
        "species": hashlib.sha256(b"Gentoo").hexdigest(),
        "island": None,
        "year": hashlib.sha256(np.int64(2008).tobytes()).hexdigest(),
        "tagged": True,
    }


def test_floats_of_a_scalar_signature_are_hashed_or_left_out_too(logistic: Artifact, rows: Any) -> None:
    artifact = logged_by(logistic, mean_radius="hash", mean_texture="none")
    logged = Logged(artifact)
    body = json.dumps({"instances": rows[:1].tolist()}).encode()
    logged.client.predict(body)
    logged.client.predict(b"{}")
    logged.client.app.close()
    logged.log.close(SECONDS)
    (entry,) = logged.store.list(log_prefix(artifact.manifest.name))
    found = pq.read_table(io.BytesIO(logged.store.get(entry.key))).to_pylist()
    first, refused = sorted(found, key=lambda row: int(row["status"]))
    assert first["mean_radius"] == hashlib.sha256(np.float64(rows[0, 0]).tobytes()).hexdigest()
    assert refused["mean_radius"] is None
    assert "mean_texture" not in first
    assert first["mean_perimeter"] == rows[0, 2]


def test_redacting_predictions_empties_every_column_of_them() -> None:
    logged = Logged(graphs.labelled(), log_redact="prediction, bill depth")
    logged.v1([0.0, 2.0])
    (row,) = logged.rows()
    assert (row["predicted_class"], row["scores"]) == (None, None)
    assert values(row) == {"bill_length": 0.0, "bill_depth": None}


def test_a_sample_keeps_the_rows_of_its_own_requests() -> None:
    logged = Logged(graphs.mixed(), log_sample=0.25)
    for year in range(1900, 2100):
        logged.v1(ROW | {"year": year}, headers={"x-request-id": f"request-{year}"})
    found = {row["request_id"]: row["year"] for row in logged.rows()}
    assert found == {f"request-{year}": year for year in found.values()}
    assert 25 <= len(found) <= 80


def test_long_texts_are_kept_or_counted_as_dropped() -> None:
    logged = Logged(graphs.text(), log_memory_bytes=1024 * 1024, log_rows=10**6)
    for at in range(300):
        logged.v1(f"{at}" + "x" * 10_000)
    found = [row["text"] for row in logged.rows()]
    assert all(text.endswith("x" * 10_000) for text in found)
    assert len(set(found)) == len(found) == logged.value("sabia_log_kept_total")
    assert len(found) + (logged.value("sabia_log_dropped_total", reason="memory") or 0) == 300


@pytest.mark.parametrize("kind", ["image", "tokens", "blob"])
def test_what_is_kept_of_a_tensor_does_not_hold_its_request(kind: str) -> None:
    model = Client(graphs.KINDS[kind]()).model
    assert isinstance(model, TypedModel)
    batch = model.example(rows=2, free_length=100_000)
    kept = ValuesOf(model.signature)(batch, model.predict(batch))
    assert kept.nbytes < 2000
    for column in kept.columns.values():
        assert not any(np.shares_memory(column, given_column) for given_column in batch.columns.values())


def test_categories_that_training_did_not_have_and_missing_values_are_counted_by_input() -> None:
    logged = Logged(graphs.mixed())
    logged.v1(ROW | {"species": "Emperor"}, ROW | {"island": "Biscoe"}, ROW | {"bill length": 99.0})
    logged.v1(ROW | {"island": "Torgersen", "year": 1999})
    assert logged.value("sabia_inputs_unknown_total", feature="species") == 1
    assert logged.value("sabia_inputs_unknown_total", feature="island") == 1
    assert logged.value("sabia_inputs_missing_total", feature="island") == 2
    assert logged.value("sabia_inputs_missing_total", feature="bill length") == 3
    assert logged.value("sabia_inputs_out_of_range_total", feature="bill length") == 1
    assert logged.value("sabia_inputs_out_of_range_total", feature="year") == 1


def test_inputs_that_cannot_be_missing_or_unknown_have_no_such_line() -> None:
    page = Logged(graphs.mixed()).client("GET", "/metrics").text
    lines = [line for line in page.splitlines() if "sabia_inputs_" in line and not line.startswith("#")]
    assert {line.partition(",model")[0] for line in lines} == {
        'sabia_inputs_out_of_range_total{feature="bill length"',
        'sabia_inputs_out_of_range_total{feature="year"',
        'sabia_inputs_unknown_total{feature="species"',
        'sabia_inputs_unknown_total{feature="island"',
        'sabia_inputs_missing_total{feature="island"',
        'sabia_inputs_missing_total{feature="bill length"',
    }


def test_predictions_are_counted_by_class_and_by_interval() -> None:
    logged = Logged(graphs.labelled())
    logged.v1([0.0, 2.0], [3.0, 0.0])
    counts = {
        each: logged.value("sabia_predictions_total", bin=each) for each in ("Adelie", "Chinstrap", "Gentoo", "other")
    }
    assert counts == {"Adelie": 1, "Chinstrap": 0, "Gentoo": 1, "other": 0}
    logged = Logged(graphs.several())
    logged.v1({"x": 1.5, "name": "a"}, {"x": -1.0, "name": "b"}, {"x": -2.0, "name": "c"})
    assert [logged.value("sabia_predictions_total", bin=each) for each in "01"] == [2, 1]


@pytest.mark.parametrize("make", [graphs.mixed, graphs.labelled])
def test_single_rows_are_counted_as_requests_of_several_are(make: Callable[[], Artifact]) -> None:
    alone, together = Logged(make()), Logged(make())
    rows: list[Any] = [ROW | {"year": year} for year in range(1995, 2015)]
    if make is graphs.labelled:
        rows = [[at / 4, None if at % 3 else 2.0] for at in range(20)]
    for row in rows:
        alone.v1(row)
    together.v1(*rows)
    names = ("sabia_predictions", "sabia_inputs")
    counts = [
        [line for line in logged.client("GET", "/metrics").text.splitlines() if line.startswith(names)]
        for logged in (alone, together)
    ]
    assert counts[0] == counts[1]
