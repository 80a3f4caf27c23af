"""The inference log and the counts of a team's code: by its signature, and of code that declares none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kserve
import numpy as np
import pyarrow.parquet as pq
import pytest

from sabia.contract.inferencelog import LOG_COLUMNS
from sabia.serving.errors import LoadFailed
from sabia.serving.settings import Settings
from tests.unit.serving.custom.clients import Served, served
from tests.unit.serving.custom.models import Fares, Spelled, Sums, Troubles


def _settings(folder: Path, **more: Any) -> Settings:
    return Settings(log=folder.as_uri(), log_spool=str(folder / "spool"), **more)


def _logged(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for file in (folder / "inference-log").rglob("*.parquet"):
        rows += pq.ParquetFile(file).read().to_pylist()
    return sorted(rows, key=lambda row: (row["request_id"], row["row"]))


def _ask(server: Served, name: str, *documents: Any) -> None:
    """One request each, `r0`, `r1` and so on."""
    for at, document in enumerate(documents):
        response = server.http.post(f"/v1/models/{name}:predict", json=document, headers={"x-request-id": f"r{at}"})
        assert response.status_code < 500, response.text


def test_predictions_and_errors_are_logged_with_version_and_request(tmp_path: Path) -> None:
    with served(Troubles(), settings=_settings(tmp_path, model_version="2.1")) as server:
        words: tuple[tuple[Any, ...], ...] = (("answer", 0.25), ("array",), ("text",), ("refuse",), ("answer", "cheap"))
        _ask(server, "troubles", *({"instances": list(each)} for each in words))
    rows = _logged(tmp_path)
    names = ("request_id", "row", "status", "prediction", "predicted_class", "error")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("r0", 0, 200, 0.25, None, None),
        ("r1", 0, 200, 1.5, None, None),
        ("r1", 1, 200, 2.5, None, None),
        ("r2", 0, 200, None, None, None),
        ("r3", 0, 400, None, None, "the colour is not one"),
        ("r4", 0, 200, None, "cheap", None),
    ]
    assert {row["version"] for row in rows} == {"2.1"}


def test_code_without_a_signature_keeps_each_row_as_json(tmp_path: Path) -> None:
    long = list(range(5000))
    with served(Sums(), settings=_settings(tmp_path)) as server:
        _ask(server, "sums", {"instances": [[1, 2], [3, 4]]}, {"rows": [[1, 2]]}, {"instances": [long]})
        tensor = kserve.InferInput("x", [2, 2], "FP64")
        tensor.set_data_from_numpy(np.array([[1.0, 2.0], [3.0, 4.0]]), binary_data=True)
        body, length = kserve.InferRequest("sums", [tensor]).to_rest()
        headers = {"inference-header-content-length": str(length), "x-request-id": "r3"}
        assert server.http.post("/v2/models/sums/infer", content=body, headers=headers).status_code == 200
    kept = [(row["request_id"], row["prediction"], json.loads(row["instance"])) for row in _logged(tmp_path)]
    assert kept[:3] == [("r0", 4.0, [1, 2]), ("r0", 8.0, [3, 4]), ("r1", 4.0, {"rows": [[1, 2]]})]
    assert kept[3][2].keys() == {"sha256"}, "a long row is kept as its digest"
    assert kept[4:] == [("r3", 4.0, {"x": [1.0, 2.0]}), ("r3", 8.0, {"x": [3.0, 4.0]})]


def test_rows_of_code_without_a_signature_may_be_redacted(tmp_path: Path) -> None:
    with served(Sums(), settings=_settings(tmp_path, log_redact="instance")) as server:
        _ask(server, "sums", {"instances": [[1, 2]]})
    assert [(row["instance"], row["prediction"]) for row in _logged(tmp_path)] == [(None, 4.0)]


def test_a_signature_gives_the_log_its_columns(tmp_path: Path) -> None:
    rows = [{"Distance": 10.5, "airport": "JFK"}, {"Distance": None, "airport": "LGA"}]
    with served(Fares("fares"), settings=_settings(tmp_path)) as server:
        _ask(server, "fares", {"instances": rows})
        tensors = [
            {"name": "Distance", "shape": [1], "datatype": "FP64", "data": [60.0]},
            {"name": "airport", "shape": [1], "datatype": "BYTES", "data": ["JFK"]},
        ]
        headers = {"x-request-id": "r1"}
        v2 = server.http.post("/v2/models/fares/infer", json={"inputs": tensors}, headers=headers)
        assert v2.json()["outputs"][0]["data"] == ["dear"]
    logged = _logged(tmp_path)
    assert logged[0].keys() == {*LOG_COLUMNS, "distance", "airport"}
    names = ("request_id", "distance", "airport", "predicted_class")
    assert [tuple(row[name] for name in names) for row in logged] == [
        ("r0", 10.5, "JFK", "cheap"),
        ("r0", None, "LGA", "free"),
        ("r1", 60.0, "JFK", "dear"),
    ]


def test_what_a_signature_does_not_read_is_answered_and_null(tmp_path: Path) -> None:
    row = {"Distance": 10.5, "airport": "JFK"}
    with served(Fares("fares"), settings=_settings(tmp_path)) as server:
        _ask(server, "fares", {"distances": [99]}, {"instances": [row] * 3})
    names = ("request_id", "distance", "airport", "predicted_class")
    assert [tuple(row[name] for name in names) for row in _logged(tmp_path)] == [
        ("r0", None, None, "dear"),
        *[("r1", 10.5, "JFK", None)] * 3,
    ]


def test_a_signature_gives_the_metrics_their_bins_and_inputs() -> None:
    rows = [
        {"Distance": 10.5, "airport": "JFK"},
        {"Distance": 101, "airport": "EWR"},
    ]
    labels = {"model": "fares", "version": "0.0"}
    with served(Fares("fares")) as server:
        _ask(server, "fares", {"instances": rows}, {"instances": [{"Distance": None, "airport": "LGA"}]})
        server.app.recorder.flush()
        bins = {
            name: server.value("sabia_predictions_total", **labels, route="split", bin=name)
            for name in ("cheap", "dear", "other")
        }
        assert bins == {"cheap": 1, "dear": 1, "other": 1}
        assert server.value("sabia_inputs_out_of_range_total", **labels, feature="Distance") == 1
        assert server.value("sabia_inputs_unknown_total", **labels, feature="airport") == 1
        assert server.value("sabia_inputs_missing_total", **labels, feature="Distance") == 1


def test_a_signature_that_cannot_be_used_is_one_sentence() -> None:
    with (
        pytest.raises(LoadFailed, match=r"Spelled cannot use its signature: .*'instances' has a name"),
        served(Spelled("spelled")),
    ):
        pass
