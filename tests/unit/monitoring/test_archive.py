"""The archive: files of every age in one table."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sabia.contract.inferencelog import log_prefix
from sabia.monitoring.archive import Archive
from sabia.registry.verification import Artifact
from sabia.store.objects import Store
from tests.unit.monitoring.logs import NOON, write_log

ADDED = ["predicted_class", "scores", "prediction_digest"]


def without(data: bytes, columns: list[str]) -> bytes:
    """A file of the log without some columns."""
    sink = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(data)).drop_columns(columns), sink)
    return sink.getvalue()


def test_files_from_before_a_column_existed_have_null_in_it(logistic: Artifact) -> None:
    recent, old = Store.open("memory://"), Store.open("memory://")
    write_log(recent, logistic, np.ones((3, 30)), np.full(3, 0.25))
    for entry in recent.list(log_prefix(logistic.manifest.name)):
        old.create(entry.key, without(recent.get(entry.key), ADDED))
    with Archive(old, logistic.manifest.name, NOON.date(), NOON.date()) as archive:
        assert archive.rows("SELECT DISTINCT prediction, predicted_class, scores, prediction_digest FROM log") == [
            (0.25, None, None, None)
        ]


@pytest.mark.parametrize("folder", ["status=500", "dt=2020-01-01/model=other", "a[1]b", "what?", "a*b", "it's", "ü"])
def test_the_folder_of_a_store_changes_no_column(logistic: Artifact, tmp_path: Path, folder: str) -> None:
    name = logistic.manifest.name
    (tmp_path / folder).mkdir(parents=True)
    store = Store.open((tmp_path / folder).as_uri())
    write_log(store, logistic, np.ones((3, 30)), np.full(3, 0.25))
    with Archive(store, name, NOON.date(), NOON.date()) as archive:
        assert archive.rows("SELECT DISTINCT status, model, dt FROM log") == [(200, name, NOON.date())]


def test_what_lies_beside_the_log_and_is_not_ours_is_passed_over(logistic: Artifact) -> None:
    store, name = Store.open("memory://"), logistic.manifest.name
    write_log(store, logistic, np.ones((3, 30)), np.full(3, 0.25))
    for key in ("notes.txt", "dt=2026-99-99/x.parquet", f"dt={NOON.date()}/_SUCCESS", "x.parquet"):
        store.create(log_prefix(name) + key, b"not ours")
    with Archive(store, name, NOON.date(), NOON.date()) as archive:
        assert archive.rows("SELECT count(*) FROM log") == [(3,)]


def test_a_feature_may_have_the_name_that_a_column_of_the_archive_would_have(logistic: Artifact) -> None:
    store, name = Store.open("memory://"), logistic.manifest.name
    write_log(store, logistic, np.ones((3, 30)), np.full(3, 0.25))
    (entry,) = store.list(log_prefix(name))
    table = pq.read_table(io.BytesIO(store.get(entry.key))).append_column("file", pa.array([7.0, 7.0, 7.0]))
    sink = io.BytesIO()
    pq.write_table(table, sink)
    store.create(entry.key.replace(".parquet", "-2.parquet"), sink.getvalue())
    with Archive(store, name, NOON.date(), NOON.date()) as archive:
        assert archive.rows("SELECT file, count(*) FROM log GROUP BY 1 ORDER BY 1") == [(7.0, 3), (None, 3)]
