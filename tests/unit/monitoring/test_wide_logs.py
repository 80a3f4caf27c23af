"""Logs of thousands of features: a report's queries stay within their memory limit."""

from __future__ import annotations

import io
from datetime import date
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sabia.contract.inferencelog import log_key
from sabia.monitoring import queries
from sabia.monitoring.archive import Archive
from sabia.store.objects import Store
from tests.unit.monitoring.logs import NOON

DAY = date(2026, 3, 1)
COLUMNS = 5000
DECILES = np.linspace(0.1, 0.9, 9).tolist()


@pytest.fixture
def wide(store: Store) -> Store:
    """A log of 23 rows and 5,000 features."""
    source = np.random.default_rng(1)
    fixed = {
        "request_id": [str(at) for at in range(23)],
        "row": [0] * 23,
        "ts": [NOON] * 23,
        "version": ["1.0"] * 23,
        "status": [200] * 23,
    }
    table = pa.table(fixed | {f"f{at}": source.random(23) for at in range(COLUMNS)})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    store.create(log_key("wide", DAY, "server", uuid4()), sink.getvalue())
    return store


def test_every_column_is_counted_within_the_memory_limit(wide: Store) -> None:
    edges = [(f"f{at}", DECILES) for at in range(COLUMNS)]
    with Archive(wide, "wide", DAY, DAY, memory="512MB") as archive:
        (day,) = queries.daily_histograms(archive, "1.0", edges)
        assert queries.distinct_rows(archive, "1.0", [name for name, _ in edges]) == pytest.approx(23, rel=0.1)
    assert (day.rows, len(day.counts)) == (23, COLUMNS)
    assert {sum(counts.values()) for counts in day.counts} == {23}
