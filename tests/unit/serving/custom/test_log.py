"""The inference log of a team's code: the numbers that it predicted, its errors, and nothing of its inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sabia.serving.settings import Settings
from tests.unit.serving.custom.clients import served
from tests.unit.serving.custom.models import Troubles


def test_predictions_and_errors_are_logged_with_version_and_request(tmp_path: Path) -> None:
    settings = Settings(log=tmp_path.as_uri(), log_spool=str(tmp_path / "spool"), model_version="2.1")
    with served(Troubles(), settings=settings) as server:
        for request, (word, *more) in enumerate((("answer", 0.25), ("array",), ("text",), ("refuse",))):
            server.predict("troubles", word, *more, headers={"x-request-id": f"r{request}"})
    rows: list[dict[str, Any]] = []
    for file in (tmp_path / "inference-log").rglob("*.parquet"):
        rows += pq.ParquetFile(file).read().to_pylist()
    rows.sort(key=lambda row: (row["request_id"], row["row"]))
    kept = [(row["request_id"], row["row"], row["status"], row["prediction"], row["error"] or "") for row in rows]
    assert kept == [
        ("r0", 0, 200, 0.25, ""),
        ("r1", 0, 200, 1.5, ""),
        ("r1", 1, 200, 2.5, ""),
        ("r2", 0, 200, None, ""),
        ("r3", 0, 400, None, "the colour is not one"),
    ]
    assert {row["version"] for row in rows} == {"2.1"}
