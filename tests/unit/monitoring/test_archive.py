"""The archive: files of every age in one table."""

from __future__ import annotations

import io

import numpy as np
import pyarrow.parquet as pq

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
