"""Typed logs for tests: a version with a given signature, and rows of it in the columns of the format."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sabia.contract import reference as references
from sabia.contract.inferencelog import REDACTED, feature_columns, log_columns, log_key
from sabia.contract.manifest import Evaluation, Manifest, fingerprint
from sabia.contract.reference import Histogram
from sabia.contract.signature import Bins, Input, Signature
from sabia.registry.catalogue import manifests_of
from sabia.registry.claim import publish
from sabia.serving.log.parquet import ARROW
from sabia.store.objects import Store
from tests.drafts import a_draft
from tests.unit.monitoring.logs import NOON

Table = dict[str, list[Any]]


def histogram(values: Sequence[Any], each: Input) -> Histogram:
    """The training rows of one input by bin."""
    present = [value for value in values if value is not None]
    missing = len(values) - len(present)
    if each.categories is not None:
        counts = [present.count(category) for category in each.categories]
        return Histogram([], [*counts, len(present) - sum(counts)], list(each.categories), missing)
    if each.dtype in ("string", "bytes"):
        return Histogram([], [len(present)], None, missing)
    edges = np.unique(np.quantile(present, np.linspace(0, 1, 11)[1:-1]))
    bins = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    return Histogram(edges.tolist(), bins.tolist(), None, missing)


def binned(values: Sequence[Any], bins: Bins) -> Histogram:
    """The predictions of the training rows by bin."""
    counts = bins.counts(list(values)).tolist()
    if bins.kind == "classes":
        return Histogram([], counts, list(bins.classes))
    return Histogram(bins.inner_edges.tolist(), counts)


def published(
    store: Store,
    name: str,
    signature: Signature,
    rows: Table,
    predictions: Sequence[Any],
    metrics: Evaluation,
    *,
    model: bytes = b"not loaded",
    content: str = "{}",
) -> Manifest:
    """Publish a version with these training rows and their predictions, and return its manifest."""
    features = {each.name: histogram(rows[each.name], each) for each in signature.inputs if each.name in rows}
    reference = references.build(len(predictions), features, binned(predictions, signature.bins))
    files = {
        "model.onnx": model,
        "state.json": content.encode(),
        "reference.json": references.encode(reference),
        "CARD.md": b"# A card\n",
    }
    draft = a_draft(name=name, signature=signature, metrics=metrics, files=files)
    publish(store, replace(draft, methods=fingerprint(signature)))
    return manifests_of(store, name)[-1]


def write_typed_log(
    store: Store,
    manifest: Manifest,
    rows: Table,
    predicted: Table,
    *,
    at: datetime = NOON,
    server: str = "server",
    redacted: Sequence[str] = (),
) -> list[str]:
    """Write one request per row, a millisecond apart; `predicted` has the columns of predictions."""
    columns, count = log_columns(manifest.signature), len(next(iter(rows.values())))
    ids = [uuid4().hex for _ in range(count)]
    values: Table = {
        "request_id": ids,
        "row": [0] * count,
        "ts": [at + timedelta(milliseconds=number) for number in range(count)],
        "version": [manifest.version] * count,
        "server": [server] * count,
        "route": ["split"] * count,
        "status": [200] * count,
        "latency_us": [1000] * count,
        "sample_rate": [1.0] * count,
    }
    names = feature_columns(each.name for each in manifest.inputs)
    values |= {names[name]: column for name, column in rows.items() if names[name] in columns} | predicted
    table = pa.table({name: pa.array(values.get(name, [None] * count), ARROW[kind]) for name, kind in columns.items()})
    sink = io.BytesIO()
    metadata = {"sabia.features": msgspec.json.encode(names), REDACTED: msgspec.json.encode(redacted)}
    pq.write_table(table.replace_schema_metadata(metadata), sink)
    store.create(log_key(manifest.name, at.date(), server, uuid4()), sink.getvalue())
    return ids
