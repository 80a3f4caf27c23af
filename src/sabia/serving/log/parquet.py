"""Blocks of records as Parquet files, one for each day."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sabia.contract.inferencelog import LOG_COLUMNS, Type, feature_columns
from sabia.contract.names import ROUTES
from sabia.serving.log.records import Block

ARROW: dict[Type, pa.DataType] = {
    Type.STRING: pa.string(),
    Type.INTEGER: pa.int64(),
    Type.DOUBLE: pa.float64(),
    Type.BOOLEAN: pa.bool_(),
    Type.TIME: pa.timestamp("us", tz="UTC"),
    Type.FLOATS: pa.list_(pa.field("element", pa.float32())),
    Type.DOUBLES: pa.list_(pa.field("element", pa.float64())),
}
# Columns of few values; of measurements a dictionary would be larger than the values.
_REPEATED = ("version", "server", "route", "status", "error", "sample_rate", "row")
# Columns beside the features that may be redacted.
REDACTABLE = ("prediction", "error")
_DAY_MICROSECONDS = 86_400_000_000
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """What every file of a server's log says of its server.

    Attributes:
        features: the model's features, in the order of the records' columns.
        redacted: features, and columns of `REDACTABLE`, that stay empty.
    """

    model: str
    version: str
    digest: str
    server: str
    features: tuple[str, ...]
    sample_rate: float = 1.0
    redacted: frozenset[str] = frozenset()

    def schema(self) -> pa.Schema:
        """The columns, and in the file's metadata which column is which feature."""
        columns = feature_columns(self.features)
        fields = [pa.field(name, ARROW[kind]) for name, kind in LOG_COLUMNS.items()]
        fields += [pa.field(column, pa.float64()) for column in columns.values()]
        server = {"sabia.model": self.model, "sabia.version": self.version, "sabia.digest": self.digest}
        return pa.schema(fields, metadata=server | {"sabia.features": msgspec.json.encode(columns).decode()})


def files(blocks: Sequence[Block], metadata: FileMetadata) -> Iterator[tuple[date, int, bytes]]:
    """The records as files: the day that each is for, how many records it has, and its bytes."""
    table = _table(blocks, metadata)
    days = table["ts"].cast(pa.int64()).to_numpy() // _DAY_MICROSECONDS
    different: list[int] = np.unique(days).tolist()
    for day in different:
        part = table if len(different) == 1 else table.filter(pa.array(days == day))
        yield _EPOCH + timedelta(days=day), part.num_rows, _encode(part)


def warm_up(metadata: FileMetadata) -> None:
    """Write a file of one record and discard it: the first file takes a twentieth of a second more."""
    block = Block(len(metadata.features))
    block.add_error(b"", 503, b"", 0.0, 0.0, 0)
    list(files([block], metadata))


def _table(blocks: Sequence[Block], metadata: FileMetadata) -> pa.Table:
    schema = metadata.schema()
    count = sum(map(len, blocks))
    status = _joined(blocks, "status")
    refused = status != 200  # nothing was predicted: features and prediction are null
    missing = refused if refused.any() else None  # a mask, even an empty one, costs a copy of every column
    arrived = np.rint(_joined(blocks, "arrived") * 1e6).astype(np.int64)
    columns: dict[str, Any] = {
        "request_id": _ids(blocks),
        "row": _joined(blocks, "row").astype(np.int64),
        "ts": pa.array(arrived).cast(ARROW[Type.TIME]),
        "version": pa.repeat(metadata.version, count),
        "server": pa.repeat(metadata.server, count),
        "route": pa.DictionaryArray.from_arrays(
            pa.array(_joined(blocks, "route").astype(np.int8)), pa.array(ROUTES)
        ).cast(pa.string()),
        "status": status.astype(np.int64),
        "latency_us": np.rint(_joined(blocks, "seconds") * 1e6).astype(np.int64),
        "prediction": pa.array(_joined(blocks, "prediction"), mask=missing),
        "predicted_class": pa.nulls(count, pa.string()),
        "scores": pa.nulls(count, ARROW[Type.FLOATS]),
        "prediction_digest": pa.nulls(count, pa.string()),
        "error": _sentences(blocks, count),
        "sample_rate": pa.repeat(metadata.sample_rate, count),
    }
    features = _columns(blocks)
    for at, (feature, column) in enumerate(feature_columns(metadata.features).items()):
        columns[column] = (
            pa.nulls(count, pa.float64()) if feature in metadata.redacted else pa.array(features[at], mask=missing)
        )
    for name in metadata.redacted & columns.keys():
        columns[name] = pa.nulls(count, schema.field(name).type)
    return pa.table(columns, schema=schema)


def _ids(blocks: Sequence[Block]) -> pa.Array:
    ids = _joined(blocks, "id")
    if any(block.long_ids for block in blocks):
        ids = ids.astype(object)
        start = 0
        for block in blocks:
            for at, request_id in block.long_ids.items():
                ids[start + at] = request_id
            start += len(block)
    return pa.array(ids, pa.binary()).cast(pa.string())


def _joined(blocks: Sequence[Block], name: str) -> NDArray[Any]:
    return np.concatenate([block.column(name) for block in blocks])


def _columns(blocks: Sequence[Block]) -> NDArray[np.float64]:
    """The features, shape (columns, rows)."""
    columns = np.empty((blocks[0].features.shape[1], sum(map(len, blocks))))
    start = 0
    for block in blocks:
        # Block by block: one block fits the processor's cache.
        columns[:, start : start + len(block)] = block.features.T
        start += len(block)
    return columns


def _sentences(blocks: Sequence[Block], count: int) -> pa.Array:
    sentences: list[str | None] = [None] * count
    start = 0
    for block in blocks:
        for at, body in block.errors.items():
            sentences[start + at] = _sentence(body)
        start += len(block)
    return pa.array(sentences, pa.string())


def _sentence(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return ""


def _encode(table: pa.Table) -> bytes:
    # Snappy is read everywhere. zstd makes files a tenth smaller, at half as much again of the server's time.
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="snappy", use_dictionary=list(_REPEATED), version="2.6")
    return sink.getvalue()
