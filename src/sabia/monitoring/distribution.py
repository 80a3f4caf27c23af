"""Predicted rows by the bins of the training rows: the basis of the verdict on drift."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np

from sabia.contract import errors
from sabia.contract import reference as references
from sabia.contract.bins import bins_of
from sabia.contract.inferencelog import feature_columns
from sabia.contract.manifest import REFERENCE_FILE, Manifest
from sabia.contract.reference import Histogram, Reference
from sabia.contract.tensors import OUTPUT
from sabia.monitoring import drift, queries
from sabia.monitoring.archive import Archive
from sabia.monitoring.errors import InvalidReference
from sabia.registry.verification import Artifact

PREDICTION = OUTPUT


def reference_of(artifact: Artifact) -> Reference:
    """The distribution of a version's training rows.

    Raises:
        InvalidReference: reference.json cannot be read.
    """
    try:
        return references.decode(artifact.files[REFERENCE_FILE])
    except errors.InvalidReference as error:
        raise InvalidReference(artifact.manifest.version, error) from error


def histogram_of(reference: Reference, name: str) -> Histogram:
    """The training rows by bin, of a feature or of the prediction."""
    return reference.prediction if name == PREDICTION else reference.features[name]


def trained(reference: Reference, name: str) -> list[int]:
    """The counts of training rows by bin, of a feature or of the prediction."""
    return histogram_of(reference, name).counts


class BinCounts(msgspec.Struct):
    """Some rows: their number and, by name, the counts by bin and the number outside the training range."""

    rows: int
    bins: dict[str, list[int]]
    outside: dict[str, int]


@dataclass(frozen=True, slots=True)
class Distribution:
    """The predicted rows of one version.

    Attributes:
        columns: by feature, its column in the log; features without a column or a reference are left out.
        by_day: rows by bin, by day (ISO text).
        total: rows by bin, of all days.
        drift: the comparison with the training rows.
    """

    columns: dict[str, str]
    by_day: dict[str, BinCounts]
    total: BinCounts
    drift: list[drift.FeatureDrift]


def distribution(archive: Archive, manifest: Manifest, reference: Reference) -> Distribution:
    """Count the predicted rows of a version by bin and compare them with its training rows."""
    columns = _logged_columns(archive, manifest, reference)
    by_day = _by_day(archive, manifest, reference, columns)
    total = _sum(by_day.values())
    pairs = {}
    for name in [*columns, PREDICTION]:
        expected = trained(reference, name)
        pairs[name] = (total.bins.get(name, [0] * len(expected)), expected)
    distinct = queries.distinct_rows(archive, manifest.version, columns.values()) if columns else None
    return Distribution(columns, by_day, total, drift.compare(pairs, distinct))


def _logged_columns(archive: Archive, manifest: Manifest, reference: Reference) -> dict[str, str]:
    logged = archive.columns_in("log")
    columns = feature_columns(feature.name for feature in manifest.inputs)
    return {name: column for name, column in columns.items() if column in logged and name in reference.features}


def _by_day(
    archive: Archive, manifest: Manifest, reference: Reference, columns: dict[str, str]
) -> dict[str, BinCounts]:
    """Rows by bin, by day.

    DuckDB's histogram closes bins on the right, reference.json on the left. No number is between an edge and the
    number before it, so "at most that number" is "less than the edge".
    """
    ranges = {
        each.name: (each.minimum, each.maximum)
        for each in manifest.inputs
        if each.minimum is not None and each.maximum is not None
    }
    inner = {name: histogram_of(reference, name).edges for name in [*columns, PREDICTION]}
    edges = {name: [_before(edge) for edge in inner[name]] for name in inner}
    for name in columns.keys() & ranges.keys():
        lowest, highest = ranges[name]
        edges[name] = sorted({*edges[name], _before(lowest), highest})
    by_day = {}
    by_column = {columns.get(name, PREDICTION): of_name for name, of_name in edges.items()}
    for day, rows, histograms in queries.daily_histograms(archive, manifest.version, by_column):
        counts = BinCounts(rows, {}, {})
        for name, histogram in zip(inner, histograms, strict=True):
            counts.bins[name] = _binned(histogram, inner[name])
            counts.outside[name] = _outside(histogram, *ranges[name]) if name in ranges else 0
        by_day[day] = counts
    return by_day


def _before(edge: float) -> float:
    """The largest number less than an edge."""
    return float(np.nextafter(edge, -np.inf))


def _binned(histogram: dict[float, int], edges: list[float]) -> list[int]:
    """Counts of values "at most an edge of the query" as counts by the bins of the reference."""
    bins = [0] * (len(edges) + 1)
    for edge, count in histogram.items():
        bins[bins_of(edges, [edge])[0]] += count
    return bins


def _outside(histogram: dict[float, int], lowest: float, highest: float) -> int:
    """The number of values outside [lowest, highest]; both limits are edges of the query."""
    return sum(count for edge, count in histogram.items() if edge < lowest or edge > highest)


def _sum(parts: Iterable[BinCounts]) -> BinCounts:
    total = BinCounts(0, {}, {})
    for part in parts:
        total.rows += part.rows
        for name, bins in part.bins.items():
            total.bins[name] = [a + b for a, b in zip(total.bins.get(name, [0] * len(bins)), bins, strict=True)]
            total.outside[name] = total.outside.get(name, 0) + part.outside[name]
    return total
