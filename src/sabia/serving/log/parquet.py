"""Blocks of records as Parquet files, one for each day."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sabia.contract.inferencelog import LOG_COLUMNS, REDACTED, InputColumn, Type, digest, input_columns, log_columns
from sabia.contract.names import ROUTES
from sabia.contract.signature import Signature
from sabia.serving.log.records import Block, Records, TypedBlock
from sabia.serving.log.values import PREDICTION

ARROW: dict[Type, pa.DataType] = {
    Type.STRING: pa.string(),
    Type.INTEGER: pa.int64(),
    Type.DOUBLE: pa.float64(),
    Type.BOOLEAN: pa.bool_(),
    Type.TIME: pa.timestamp("us", tz="UTC"),
    Type.FLOATS: pa.list_(pa.field("element", pa.float32())),
    Type.DOUBLES: pa.list_(pa.field("element", pa.float64())),
}
Blocks = Sequence[Records[Any]]
Mask = NDArray[np.bool_]

# Columns of few values, beside those of text; of measurements a dictionary would be larger than the values.
_REPEATED = ("status", "sample_rate", "row")
# What may be redacted beside inputs.
REDACTABLE = ("prediction", "error")
_DAY_MICROSECONDS = 86_400_000_000
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """What every file of a server's log says of its server.

    Attributes:
        redacted: inputs, and columns of `REDACTABLE`, that stay empty; `prediction` redacts all that was predicted.
    """

    model: str
    version: str
    digest: str
    server: str
    signature: Signature
    sample_rate: float = 1.0
    redacted: frozenset[str] = frozenset()

    @property
    def inputs(self) -> dict[str, InputColumn]:
        """The columns of the inputs, by input."""
        return input_columns(self.signature.inputs)

    def schema(self) -> pa.Schema:
        """The columns, and in the file's metadata which column is which input."""
        fields = [pa.field(name, ARROW[kind]) for name, kind in log_columns(self.signature).items()]
        columns = {each: column.name for each, column in self.inputs.items()}
        server = {"sabia.model": self.model, "sabia.version": self.version, "sabia.digest": self.digest}
        lists = {"sabia.features": columns, REDACTED: self.redacted_columns}
        return pa.schema(fields, metadata=server | {key: msgspec.json.encode(each) for key, each in lists.items()})

    @property
    def redacted_columns(self) -> list[str]:
        """The columns that stay empty by the settings, whatever was asked and predicted."""
        found = {self.inputs[name].name for name in self.redacted & self.inputs.keys()} | self.redacted & {"error"}
        return sorted(found | (set(PREDICTION) if "prediction" in self.redacted else set()))


def files(blocks: Blocks, metadata: FileMetadata) -> Iterator[tuple[date, int, bytes]]:
    """The records as files: the day that each is for, how many records it has, and its bytes."""
    table = _table(blocks, metadata)
    days = table["ts"].cast(pa.int64()).to_numpy() // _DAY_MICROSECONDS
    different: list[int] = np.unique(days).tolist()
    for day in different:
        part = table if len(different) == 1 else table.filter(pa.array(days == day))
        yield _EPOCH + timedelta(days=day), part.num_rows, _encode(part)


def warm_up(metadata: FileMetadata, block: Records[Any]) -> None:
    """Write a file of one record and discard it: the first file takes a twentieth of a second more."""
    block.add_error(b"", 503, b"", 0.0, 0.0, 0)
    list(files([block], metadata))


def _table(blocks: Blocks, metadata: FileMetadata) -> pa.Table:
    schema = metadata.schema()
    count = sum(map(len, blocks))
    status = _joined(blocks, "status")
    refused = status != 200  # nothing was predicted: inputs and predictions are null
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
        "error": _sentences(blocks, count),
        "sample_rate": pa.repeat(metadata.sample_rate, count),
    }
    if isinstance(blocks[0], Block):
        columns |= _scalar_columns(cast("Sequence[Block]", blocks), metadata, missing)
    else:
        columns |= _typed_columns(cast("Sequence[TypedBlock]", blocks), schema, missing)
    redacted = {*metadata.redacted_columns}
    for name in schema.names:
        if name in redacted or name not in columns:
            columns[name] = pa.nulls(count, schema.field(name).type)
    return pa.table(columns, schema=schema)


def _scalar_columns(blocks: Sequence[Block], metadata: FileMetadata, missing: Mask | None) -> dict[str, Any]:
    prediction = np.concatenate([block.prediction for block in blocks])
    columns = {"prediction": pa.array(prediction, mask=missing)}
    features, inputs = _features(blocks), metadata.inputs
    for at, each in enumerate(metadata.signature.inputs):
        column = inputs.get(each.name)
        if column is None or each.name in metadata.redacted:
            continue
        values = features[at]
        null = missing
        if each.nullable:
            absent = np.isnan(values)
            null = absent if missing is None else absent | missing
        columns[column.name] = (
            pa.array([digest(np.asarray(value)) for value in values], mask=null)
            if column.digest
            else pa.array(values, mask=null)
        )
    return columns


def _typed_columns(blocks: Sequence[TypedBlock], schema: pa.Schema, missing: Mask | None) -> dict[str, Any]:
    values = [each for block in blocks for each in block.values]
    if not values:
        return {}
    # The place of each record's values; null where there was an error.
    places = None if missing is None else pa.array(np.cumsum(~missing) - 1, mask=missing)
    columns = {}
    for name in values[0].columns:
        joined = np.concatenate([each.columns[name] for each in values])
        masks = None
        if any(name in each.nulls for each in values):
            masks = np.concatenate([each.nulls.get(name, np.zeros(len(each), np.bool_)) for each in values])
        column = _arrow(joined, masks, schema.field(name).type)
        columns[name] = column if places is None else column.take(places)
    return columns


def _arrow(values: NDArray[Any], nulls: Mask | None, kind: pa.DataType) -> pa.Array:
    if pa.types.is_list(kind):
        offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
        mask = None if nulls is None else pa.array(nulls)
        return pa.ListArray.from_arrays(offsets, pa.array(values.ravel(), kind.value_type), type=kind, mask=mask)
    if pa.types.is_timestamp(kind):
        return pa.array(values, mask=nulls).cast(kind)
    return pa.array(values, kind, mask=nulls)


def _ids(blocks: Blocks) -> pa.Array:
    ids = _joined(blocks, "id")
    if any(block.long_ids for block in blocks):
        ids = ids.astype(object)
        start = 0
        for block in blocks:
            for at, request_id in block.long_ids.items():
                ids[start + at] = request_id
            start += len(block)
    return pa.array(ids, pa.binary()).cast(pa.string())


def _joined(blocks: Blocks, name: str) -> NDArray[Any]:
    return np.concatenate([block.column(name) for block in blocks])


def _features(blocks: Sequence[Block]) -> NDArray[np.float64]:
    """The features, shape (columns, rows)."""
    columns = np.empty((blocks[0].features.shape[1], sum(map(len, blocks))))
    start = 0
    for block in blocks:
        # Block by block: one block fits the processor's cache.
        columns[:, start : start + len(block)] = block.features.T
        start += len(block)
    return columns


def _sentences(blocks: Blocks, count: int) -> pa.Array:
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
    texts = [each.name for each in table.schema if pa.types.is_string(each.type) and each.name != "request_id"]
    repeated = list({*_REPEATED, *texts})
    # Readers skip parts of files by the ranges of time, version and status. Ranges of inputs would take a fifth of the
    # time of writing.
    ranged = [name for name in LOG_COLUMNS if name in table.schema.names]
    pq.write_table(table, sink, compression="snappy", use_dictionary=repeated, write_statistics=ranged, version="2.6")
    return sink.getvalue()
