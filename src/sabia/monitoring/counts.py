"""Rows of the log by the bins of what the model was trained on: all that drift is told from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np

from sabia.contract.inferencelog import feature_columns
from sabia.contract.manifest import REFERENCE_FILE, Manifest
from sabia.monitoring import drift
from sabia.monitoring.archive import Archive, quoted
from sabia.monitoring.errors import InvalidReference
from sabia.registry.verification import Artifact

PREDICTION = "prediction"


class Histogram(msgspec.Struct, frozen=True):
    """Rows by bin: `edges` are the inner ones; a bin is closed on the left."""

    edges: list[float]
    counts: list[int]


class Reference(msgspec.Struct, frozen=True):
    """reference.json: what the training rows looked like."""

    schema_version: int
    rows: int
    features: dict[str, Histogram]
    prediction: Histogram


def reference_of(artifact: Artifact) -> Reference:
    """What a version's training rows looked like.

    Raises:
        InvalidReference: it cannot be read.
    """
    try:
        return msgspec.json.decode(artifact.files[REFERENCE_FILE], type=Reference)
    except msgspec.MsgspecError as error:
        raise InvalidReference(artifact.manifest.version) from error


@dataclass(frozen=True, slots=True)
class Distribution:
    """What one version's decided rows looked like.

    Attributes:
        columns: the columns of the features that are logged and have a reference.
        by_day, whole: rows by bin.
        compared: with the training rows.
    """

    columns: dict[str, str]
    by_day: dict[str, Counted]
    whole: Counted
    compared: list[drift.Compared]


def distribution(archive: Archive, manifest: Manifest, reference: Reference) -> Distribution:
    """Count one version's decided rows, and compare them with its training rows."""
    decided = f"FROM log WHERE version = {quoted(manifest.version)} AND status = 200"
    logged = archive.columns_in("log")
    columns = {
        name: column
        for name, column in feature_columns(feature.name for feature in manifest.features).items()
        if column in logged and name in reference.features
    }
    by_day = _by_day(archive, manifest, reference, columns)
    whole = _together(by_day.values())
    empty = {name: [0] * len(trained(reference, name)) for name in [*columns, PREDICTION]}
    compared = drift.compare(
        {name: (whole.bins.get(name, none), trained(reference, name)) for name, none in empty.items()},
        distinct=_distinct(archive, decided, columns),
    )
    return Distribution(columns, by_day, whole, compared)


def _distinct(archive: Archive, decided: str, columns: dict[str, str]) -> int | None:
    """About how many different rows there are."""
    if not columns:
        return None
    row = ", ".join(f'"{column}"' for column in columns.values())
    return int(archive.rows(f"SELECT approx_count_distinct(hash({row})) {decided}")[0][0])


class Counted(msgspec.Struct):
    """Of some rows: how many there are and, by name, how many by bin and how many outside the training range."""

    rows: int
    bins: dict[str, list[int]]
    outside: dict[str, int]


def trained(reference: Reference, name: str) -> list[int]:
    """Training rows by bin, of a feature or of the prediction."""
    return (reference.prediction if name == PREDICTION else reference.features[name]).counts


def _by_day(archive: Archive, manifest: Manifest, reference: Reference, columns: dict[str, str]) -> dict[str, Counted]:
    """Rows by bin, for each day, in one reading of the log.

    DuckDB's histogram closes bins on the right; ours are closed on the left. The number before an edge has nothing
    between it and the edge, so "at most that" is "less than the edge".
    """
    features = {feature.name: feature for feature in manifest.features}
    edges: dict[str, list[float]] = {}
    for name in columns:
        inner = [float(np.nextafter(edge, -np.inf)) for edge in reference.features[name].edges]
        ends = [float(np.nextafter(features[name].minimum, -np.inf)), features[name].maximum]
        edges[name] = sorted({*inner, *ends})
    edges[PREDICTION] = [float(np.nextafter(edge, -np.inf)) for edge in reference.prediction.edges]
    parts = ", ".join(
        f'histogram("{column}", {edges[name]!r})' for name, column in {**columns, PREDICTION: PREDICTION}.items()
    )
    found = archive.rows(
        f"SELECT CAST(dt AS VARCHAR), count(*), {parts} FROM log "
        f"WHERE version = {quoted(manifest.version)} AND status = 200 GROUP BY dt ORDER BY dt"
    )
    counted = {}
    for day, rows, *maps in found:
        one = Counted(rows, {}, {})
        for name, counts in zip(edges, maps, strict=True):
            by_edge = counts or {}
            inner = reference.prediction.edges if name == PREDICTION else reference.features[name].edges
            bins = [0] * (len(inner) + 1)
            outside = 0
            for edge, count in by_edge.items():
                # The bin of what is at most `edge` is the number of inner edges that are less or equal to it.
                bins[int(np.searchsorted(inner, edge, side="right"))] += count
                if name != PREDICTION and (edge < features[name].minimum or edge > features[name].maximum):
                    outside += count
            one.bins[name], one.outside[name] = bins, outside
        counted[str(day)] = one
    return counted


def _together(parts: Iterable[Counted]) -> Counted:
    whole = Counted(0, {}, {})
    for part in parts:
        whole.rows += part.rows
        for name, bins in part.bins.items():
            whole.bins[name] = [a + b for a, b in zip(whole.bins.get(name, [0] * len(bins)), bins, strict=True)]
            whole.outside[name] = whole.outside.get(name, 0) + part.outside[name]
    return whole
