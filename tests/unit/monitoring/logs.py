"""Logs for tests: rows with given values, written in the predictor's format."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from sabia.contract.inferencelog import log_key
from sabia.registry.verification import Artifact
from sabia.serving.log import parquet
from sabia.serving.log.records import Block, Scalars
from sabia.store.objects import Store

Array = NDArray[np.float64]
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def write_log(  # noqa: PLR0913  a log has this many properties
    store: Store,
    artifact: Artifact,
    rows: Array,
    prediction: Array,
    *,
    at: datetime = NOON,
    ids: Iterable[str] | None = None,
    server: str = "server",
    refused: int = 0,
    failed: int = 0,
    route: int = 0,
    seconds: float = 0.001,
    redacted: frozenset[str] = frozenset(),
) -> list[str]:
    """Write one request per row, a millisecond apart from `at` on, and return the request ids."""
    manifest = artifact.manifest
    width = len(manifest.inputs)
    described = parquet.FileMetadata(
        manifest.name, manifest.version, manifest.digest, server, manifest.signature, redacted=redacted
    )
    given = [uuid4().hex for _ in rows] if ids is None else list(ids)
    blocks = [Block(width)]
    times = at.timestamp() + np.arange(len(given) + refused + failed) / 1000
    encoded, kept = [each.encode() for each in given], 0
    while kept < len(given):
        _room(blocks, width)
        part = slice(kept, None)
        left = len(given) - kept
        took, places = np.full(left, seconds), np.zeros(left, dtype=np.int64)
        values = Scalars(rows[part], prediction[part])
        kept += blocks[-1].add(encoded[part], values, times[kept : len(given)], took, places, route)
    for number in range(refused + failed):
        _room(blocks, width)
        status, arrived = 400 if number < refused else 500, float(times[len(given) + number])
        blocks[-1].add_error(uuid4().hex.encode(), status, b'{"error": "Not this."}', arrived, seconds, route)
    for day, _, data in parquet.files(blocks, described):
        store.create(log_key(manifest.name, day, server, uuid4()), data)
    return given


def _room(blocks: list[Block], width: int) -> None:
    if blocks[-1].full:
        blocks.append(Block(width))
