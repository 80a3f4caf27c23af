"""The inference log: what a record says, where it goes, and what is lost when."""

from __future__ import annotations

import io
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from sabia.contract.inferencelog import LOG_COLUMNS, PARTITIONS, day_of, feature_columns, log_key, log_prefix
from sabia.contract.signature import Bins, Input, Output, Signature
from sabia.registry.verification import Artifact
from sabia.serving.errors import LoadFailed
from sabia.serving.inference.model import Model
from sabia.serving.log import parquet
from sabia.serving.log.log import InferenceLog, open_log
from sabia.serving.log.records import ID_BYTES, Block, Scalars
from sabia.serving.log.spool import Spool
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import VersionMetrics
from sabia.store.errors import StoreUnavailable
from sabia.store.objects import Store
from tests.unit.serving.clients import JSON, MODEL, PREDICT, Client

SECONDS = 30.0
ABC = Signature(
    inputs=[Input(name=name, dtype="float64") for name in "abc"],
    outputs=[Output(name="prediction", dtype="float64", role="value")],
    primary="prediction",
    bins=Bins(kind="none"),
)


class Logged:
    """A version whose requests are logged to a store in a folder."""

    def __init__(self, artifact: Artifact, store: Store | None = None, **settings: Any) -> None:
        self.store = Store.open("memory://") if store is None else store
        config = Settings(log="memory://", log_server="server-0", **settings)
        self.client = Client(artifact, config)
        self.log = InferenceLog(self.client.model, config, self.client.metrics, lambda: self.store)
        self.client.app.recorder.log = self.log
        self.log.start()

    def rows(self) -> list[dict[str, Any]]:
        """Every record, once the log is closed, in the order of their times."""
        self.client.app.close()
        self.log.close(SECONDS)
        found = []
        for entry in self.store.list(log_prefix(MODEL)):
            found += pq.read_table(io.BytesIO(self.store.get(entry.key))).to_pylist()
        return sorted(found, key=lambda row: (row["ts"], row["row"]))


@pytest.fixture
def spooled(tmp_path: Path) -> dict[str, Any]:
    """Settings with a spool of the test's own."""
    return {"log_spool": str(tmp_path / "spool")}


def test_a_row_is_logged_with_its_request_and_response(
    logistic: Artifact, rows: np.ndarray[Any, Any], spooled: dict[str, Any]
) -> None:
    logged = Logged(logistic, **spooled)
    before = datetime.now(UTC)
    response = logged.client.predict(
        json.dumps({"instances": rows[:1].tolist()}).encode(), JSON | {"x-request-id": "abc"}
    )
    (row,) = logged.rows()
    assert (row["request_id"], row["row"], row["version"], row["server"]) == ("abc", 0, "2.0", "server-0")
    assert (row["route"], row["status"], row["error"], row["sample_rate"]) == ("split", 200, None, 1.0)
    assert row["prediction"] == response.json()["predictions"][0]
    assert before <= row["ts"] <= datetime.now(UTC)
    assert 0 < row["latency_us"] < 30_000_000
    columns = feature_columns(logged.client.model.names)
    assert [row[columns[name]] for name in logged.client.model.names] == rows[0].tolist()


def test_every_row_of_a_request_has_its_place_in_it(
    logistic: Artifact, rows: np.ndarray[Any, Any], spooled: dict[str, Any]
) -> None:
    # More than fit into one block.
    logged, many = Logged(logistic, **spooled), np.resize(rows, (2500, 30))
    body = json.dumps({"instances": many.tolist()}).encode()
    response = logged.client.predict(body, JSON | {"x-request-id": "long" * 20})
    found = sorted(logged.rows(), key=lambda row: row["row"])
    assert [row["row"] for row in found] == list(range(2500))
    assert {row["request_id"] for row in found} == {"long" * 20}
    assert [row["prediction"] for row in found] == response.json()["predictions"]
    first = feature_columns(logged.client.model.names)["mean radius"]
    assert [row[first] for row in found] == many[:, 0].tolist()


def test_a_refused_request_is_logged_with_its_error_and_no_values(logistic: Artifact, spooled: dict[str, Any]) -> None:
    logged = Logged(logistic, **spooled)
    response = logged.client.predict(b'{"instances": [[1]]}')
    (row,) = logged.rows()
    assert (row["status"], row["error"]) == (400, response.json()["error"])
    assert row["prediction"] is None
    assert row["mean_radius"] is None


def test_health_and_metrics_are_not_logged(logistic: Artifact, spooled: dict[str, Any]) -> None:
    logged = Logged(logistic, **spooled)
    logged.client("GET", f"/v1/models/{MODEL}")
    logged.client("GET", "/nothing")
    assert logged.rows() == []


def test_a_mirrored_request_and_a_pinned_one_are_distinguished(
    logistic: Artifact, rows: np.ndarray[Any, Any], spooled: dict[str, Any]
) -> None:
    logged = Logged(logistic, behind_gateway=True, **spooled)
    body = json.dumps({"instances": rows[:1].tolist()}).encode()
    logged.client.predict(body, JSON | {"host": "models.example-shadow"})
    logged.client.predict(body, JSON | {"x-model-version": "2.0"})
    assert {row["route"] for row in logged.rows()} == {"mirror", "pin"}


def test_the_response_carries_the_request_id_that_is_logged(
    logistic: Artifact, rows: np.ndarray[Any, Any], spooled: dict[str, Any]
) -> None:
    logged, body = Logged(logistic, **spooled), json.dumps({"instances": rows[:1].tolist()}).encode()
    responses = [logged.client.predict(body), logged.client.predict(b"{}"), logged.client("POST", PREDICT, b"", JSON)]
    answered = [response.headers["x-request-id"] for response in responses]
    assert len(set(answered)) == 3
    assert {row["request_id"] for row in logged.rows()} == set(answered)


@pytest.mark.parametrize("given_id", ["x" * 129, "a b", "", "ä"])
def test_an_id_that_is_none_is_replaced(logistic: Artifact, given_id: str) -> None:
    response = Client(logistic).predict(b"{}", JSON | {"x-request-id": given_id})
    assert response.headers["x-request-id"] not in ("", given_id)


def test_health_and_metrics_have_no_request_id(logistic: Artifact) -> None:
    assert "x-request-id" not in Client(logistic)("GET", "/v2/health/live").headers


def test_features_that_are_redacted_leave_no_value_behind(
    logistic: Artifact, rows: np.ndarray[Any, Any], spooled: dict[str, Any]
) -> None:
    logged = Logged(logistic, log_redact="mean radius, prediction", **spooled)
    logged.client.predict(json.dumps({"instances": rows[:1].tolist()}).encode())
    (row,) = logged.rows()
    assert (row["mean_radius"], row["prediction"]) == (None, None)
    assert row["mean_texture"] == rows[0, 1]


def test_redacting_an_unknown_column_is_refused_at_the_start(logistic: Artifact) -> None:
    model = Model(logistic)
    with pytest.raises(LoadFailed, match="'radius', which is neither an input"):
        open_log(model, Settings(log_redact="radius"), "memory://", VersionMetrics(model))


def test_a_sample_keeps_or_drops_whole_requests_by_their_id(
    logistic: Artifact, rows: np.ndarray[Any, Any], spooled: dict[str, Any]
) -> None:
    logged = Logged(logistic, log_sample=0.25, **spooled)
    body = json.dumps({"instances": rows[:3].tolist()}).encode()
    one = json.dumps({"instances": rows[:1].tolist()}).encode()
    for number in range(200):
        logged.client.predict(body, JSON | {"x-request-id": f"request-{number}"})
        logged.client.predict(one, JSON | {"x-request-id": f"request-{number}"})
    found = logged.rows()
    counts = {row["request_id"]: 0 for row in found}
    for row in found:
        counts[row["request_id"]] += 1
    assert set(counts.values()) == {4}
    assert 25 <= len(counts) <= 80
    assert {row["sample_rate"] for row in found} == {0.25}


def test_a_file_holds_one_day(logistic: Artifact) -> None:
    model = Model(logistic)
    described = parquet.FileMetadata(MODEL, "2.0", "0" * 64, "server", model.signature)
    block = Block(model.width)
    midnight = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    times, places = np.array([midnight - 0.001, midnight + 0.001]), np.arange(2)
    block.add(b"late", Scalars(np.ones((2, 30)), np.ones(2)), times, np.zeros(2), places, 0)
    found = {day.isoformat(): count for day, count, _ in parquet.files([block], described)}
    assert found == {"2026-02-28": 1, "2026-03-01": 1}


@given(st.lists(st.binary(min_size=1, max_size=2 * ID_BYTES).filter(lambda text: b"\0" not in text), max_size=60))
def test_ids_of_any_length_come_out_as_they_went_in(ids: list[bytes]) -> None:
    ids = [text.hex().encode()[: 3 * ID_BYTES] for text in ids]
    block = Block(3)
    for at, text in enumerate(ids):
        if at % 2:
            values = Scalars(np.ones((1, 3)), np.ones(1))
            block.add([text], values, np.zeros(1), np.full(1, 0.1), np.zeros(1, dtype=np.int64), 0)
        else:
            block.add_error(text, 400, b"{}", 0.0, 0.1, 0)
    if ids:
        described = parquet.FileMetadata("m", "1.0", "0" * 64, "s", ABC)
        ((_, count, data),) = parquet.files([block], described)
        table = pq.read_table(io.BytesIO(data))
        assert count == len(ids)
        assert table["request_id"].to_pylist() == [text.decode() for text in ids]
        assert table["a"].to_pylist() == [1.0 if at % 2 else None for at in range(len(ids))]


class Gate:
    """A store that is unavailable, or hangs, until it is opened."""

    def __init__(self) -> None:
        self.store = Store.open("memory://")
        self.open = threading.Event()
        self.hangs = False
        self.asked = threading.Event()

    def create_unique(self, key: str, data: bytes) -> None:
        """As the store does."""
        self.asked.set()
        if self.hangs:
            assert self.open.wait(SECONDS)
        if not self.open.is_set():
            raise StoreUnavailable("creating")
        self.store.create_unique(key, data)


def test_files_that_the_store_does_not_take_are_spooled_and_sent_by_the_next_server(
    logistic: Artifact, rows: np.ndarray[Any, Any], spooled: dict[str, Any]
) -> None:
    gate = Gate()
    logged = Logged(logistic, gate, **spooled)  # type: ignore[arg-type]
    logged.client.predict(json.dumps({"instances": rows[:5].tolist()}).encode())
    logged.log.close(SECONDS)
    spool = Spool(Path(spooled["log_spool"]), 10**9, log_prefix(logistic.manifest.name))
    assert len(spool.spooled()) == 1
    assert logged.client.value("sabia_log_kept_total") == 5
    assert logged.client.value("sabia_log_dropped_total", reason="store") == 0
    # Another process with that folder.
    gate.open.set()
    after = Logged(logistic, gate.store, **spooled)
    assert len(after.rows()) == 5
    assert spool.spooled() == []


def test_what_neither_store_nor_disk_takes_is_counted(
    logistic: Artifact, rows: np.ndarray[Any, Any], spooled: dict[str, Any]
) -> None:
    logged = Logged(logistic, Gate(), log_spool_bytes=10, **spooled)  # type: ignore[arg-type]
    logged.client.predict(json.dumps({"instances": rows[:5].tolist()}).encode())
    logged.log.close(SECONDS)
    assert logged.client.value("sabia_log_dropped_total", reason="store") == 5
    assert logged.client.value("sabia_log_kept_total") == 0


def test_a_store_that_hangs_delays_no_response_and_records_past_the_memory_limit_are_counted(
    logistic: Artifact, rows: np.ndarray[Any, Any], spooled: dict[str, Any]
) -> None:
    gate = Gate()
    gate.hangs = True
    logged = Logged(logistic, gate, log_memory_bytes=1024 * 1024, log_rows=500, **spooled)  # type: ignore[arg-type]
    body = json.dumps({"instances": np.resize(rows, (1000, 30)).tolist()}).encode()
    statuses = {logged.client.predict(body).status_code for _ in range(20)}
    dropped = logged.client.value("sabia_log_dropped_total", reason="memory")
    gate.open.set()
    gate.hangs = False
    logged.log.close(SECONDS)
    assert statuses == {200}
    assert 0 < dropped < 20_000
    dropped = logged.client.value("sabia_log_dropped_total", reason="memory")
    assert logged.client.value("sabia_log_kept_total") + dropped == 20_000


def test_records_not_written_in_time_are_counted(
    logistic: Artifact, rows: np.ndarray[Any, Any], spooled: dict[str, Any]
) -> None:
    gate = Gate()
    gate.hangs = True
    logged = Logged(logistic, gate, **spooled)  # type: ignore[arg-type]
    logged.client.predict(json.dumps({"instances": rows[:5].tolist()}).encode())
    logged.log.close(0.1)
    assert logged.client.value("sabia_log_dropped_total", reason="memory") == 5
    gate.open.set()


def test_the_records_of_a_worker_that_died_are_counted_as_lost(logistic: Artifact) -> None:
    registry = CollectorRegistry()
    metrics = VersionMetrics(Model(logistic), registry, workers=2)
    metrics.use_slot(1)
    metrics.set_log_waiting(7)
    metrics.reset_slot(1)
    labels = {"model": MODEL, "version": "2.0"}
    assert registry.get_sample_value("sabia_log_dropped_total", labels | {"reason": "died"}) == 7
    assert registry.get_sample_value("sabia_log_waiting", labels) == 0


def test_features_get_columns_that_no_engine_has_to_quote() -> None:
    names = ["mean radius", "Mean-Radius", "status", "3rd", "größe", "%", "dt", "feature_status"]
    columns = feature_columns(names)
    assert list(columns.values()) == [
        "mean_radius",
        "mean_radius_2",
        "feature_status",
        "feature_3rd",
        "gr_e",
        "feature",
        "feature_dt",
        "feature_status_2",
    ]


@given(st.lists(st.text(min_size=1), unique=True, max_size=30))
def test_no_two_columns_are_one(names: list[str]) -> None:
    columns = list(feature_columns(names).values())
    assert len(set(columns)) == len(names)
    assert not set(columns) & {*LOG_COLUMNS, *PARTITIONS}
    assert all(column.isascii() and column.isidentifier() for column in columns)


def test_a_key_names_its_server_and_its_day() -> None:
    day = datetime(2026, 3, 1, tzinfo=UTC).date()
    key = log_key("toy", day, "pod/0 ü", UUID(int=1))
    assert key == f"inference-log/v1/model=toy/dt=2026-03-01/pod-0-{UUID(int=1)}.parquet".replace("pod-0-", "pod-0-")
    assert day_of(key) == day
    assert day_of("inference-log/v1/model=toy/dt=never/x.parquet") is None
    assert day_of("models/toy/1.0/manifest.json") is None
