"""Predicted rows by the bins of the training rows: the basis of the verdict on drift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from sabia.contract import errors
from sabia.contract import reference as references
from sabia.contract.bins import bins_of
from sabia.contract.inferencelog import feature_columns, input_columns, prediction_columns
from sabia.contract.manifest import REFERENCE_FILE, Manifest
from sabia.contract.reference import Histogram, Reference
from sabia.contract.signature import Input, Output
from sabia.monitoring import drift, queries
from sabia.monitoring.archive import Archive
from sabia.monitoring.errors import InvalidReference
from sabia.monitoring.sql import category_number, class_number, norm, number, present
from sabia.registry.verification import Artifact

PREDICTION = "prediction"
OTHER, MISSING = "other", "missing"
_REDACTED = "is redacted in the log"
_HASHED = "is logged as a hash"


def reference_of(artifact: Artifact) -> Reference | None:
    """The distribution of a version's training rows; None if it was published without.

    Raises:
        InvalidReference: reference.json cannot be read.
    """
    if REFERENCE_FILE not in artifact.files:
        return None
    try:
        return references.decode(artifact.files[REFERENCE_FILE])
    except errors.InvalidReference as error:
        raise InvalidReference(artifact.manifest.version, error) from error


@dataclass(frozen=True, slots=True)
class Watched:
    """One input, or the prediction, as a report counts it.

    Attributes:
        name: in the report.
        column: in the log; None for the prediction.
        expression: the value as a number, in SQL; NULL where it is missing.
        edges: of the query's histogram, each bin closed on the right.
        trained: the training rows by bin.
        nullable: whether a missing value is a value like others, and not one that was not logged.
        limits: the least and the largest training value, if they are known.
    """

    name: str
    column: str | None
    expression: str
    edges: list[float]
    trained: Histogram
    nullable: bool = False
    limits: tuple[float, float] | None = None

    def bins(self, histogram: Mapping[float, int]) -> list[int]:
        """Counts of values "at most an edge of the query" as counts by the bins of the training rows."""
        bins = [0] * len(self.trained.counts)
        for edge, count in histogram.items():
            at = int(edge) if self.trained.categories is not None else bins_of(self.trained.edges, [edge])[0]
            bins[at] += count
        return bins

    def outside(self, histogram: Mapping[float, int]) -> int:
        """The number of values outside the limits, both of which are edges of the query, or in no category."""
        if self.trained.categories is not None:
            return histogram.get(float(len(self.trained.categories)), 0)
        if self.limits is None:
            return 0
        lowest, highest = self.limits
        return sum(count for edge, count in histogram.items() if edge < lowest or edge > highest)

    def pair(self, served: list[int], rows: int) -> drift.Pair:
        """Served and training rows by bin, with a bin for missing values where they are values like others."""
        expected, names = self.trained.counts, self._names()
        if not self.nullable:
            return drift.Pair(served, expected, self._ordered(), names)
        missing = rows - sum(served)
        return drift.Pair([*served, missing], [*expected, self.trained.missing], self._ordered(), [*names, MISSING])

    def _ordered(self) -> int:
        return len(self.trained.counts) if self.trained.categories is None else 0

    def _names(self) -> list[str]:
        if self.trained.categories is None:
            return [""] * len(self.trained.counts)
        return [*map(str, self.trained.categories), OTHER]


class BinCounts(msgspec.Struct):
    """Some rows: their number and, by name, the counts by bin and the number of values outside or unknown."""

    rows: int
    bins: dict[str, list[int]]
    outside: dict[str, int]


@dataclass(frozen=True, slots=True)
class Distribution:
    """The predicted rows of one version.

    Attributes:
        watched: what is counted: the prediction, and inputs with a column and a reference.
        by_day: rows by bin, by day (ISO text).
        total: rows by bin, of all days.
        drift: the comparison with the training rows.
        unwatched: by reason, the inputs that cannot be compared, or the prediction.
        logged: by input that the log has as it was, its column.
    """

    watched: list[Watched]
    by_day: dict[str, BinCounts]
    total: BinCounts
    drift: list[drift.FeatureDrift]
    unwatched: dict[str, list[str]] = field(default_factory=dict)
    logged: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, str]:
        """By input, its column in the log."""
        return {each.name: each.column for each in self.watched if each.column is not None}


def distribution(archive: Archive, manifest: Manifest, reference: Reference | None) -> Distribution:
    """Count the predicted rows of a version by bin and compare them with its training rows."""
    watched, unwatched = _watched(archive, manifest, reference)
    by_day = _by_day(archive, manifest.version, watched)
    total = _sum(by_day.values())
    hidden = [each.name for each in watched if (each.column or PREDICTION) in archive.redacted]
    if hidden:
        unwatched[_REDACTED] = hidden
    # Of a redacted column nothing is known, not even what was missing.
    pairs = {
        each.name: each.pair(*((zeros, 0) if each.name in hidden else (total.bins.get(each.name, zeros), total.rows)))
        for each, zeros in ((each, [0] * len(each.trained.counts)) for each in watched)
    }
    columns = [each.column for each in watched if each.column is not None]
    distinct = queries.distinct_rows(archive, manifest.version, columns) if columns else None
    return Distribution(watched, by_day, total, drift.compare(pairs, distinct), unwatched, _logged(archive, manifest))


def _logged(archive: Archive, manifest: Manifest) -> dict[str, str]:
    """The columns of single values that are neither hashed nor left out."""
    in_log, columns = archive.columns_in("log"), input_columns(manifest.inputs)
    scalars = [each.name for each in manifest.inputs if each.is_scalar and each.name in columns]
    return {name: columns[name].name for name in scalars if not columns[name].digest and columns[name].name in in_log}


def _watched(
    archive: Archive, manifest: Manifest, reference: Reference | None
) -> tuple[list[Watched], dict[str, list[str]]]:
    unwatched: dict[str, list[str]] = {}
    if reference is None:
        return [], {"was published without training rows": [each.name for each in manifest.inputs]}
    logged = archive.columns_in("log")
    watched = []
    for each, column in zip(
        manifest.inputs, feature_columns(each.name for each in manifest.inputs).values(), strict=True
    ):
        trained = reference.features.get(each.name)
        reason = _why_not(each, column in logged, trained)
        if reason or trained is None:
            unwatched.setdefault(reason, []).append(each.name)
        else:
            watched.append(_watched_input(each, column, trained))
    if prediction_columns(manifest.signature).digest is not None:
        unwatched.setdefault(_HASHED, []).append(PREDICTION)
    else:
        watched.append(_watched_prediction(manifest.signature.primary_output, reference.prediction))
    return watched, unwatched


def _why_not(each: Input, logged: bool, trained: Histogram | None) -> str:
    if not each.is_scalar:
        return "is a tensor"
    if each.log == "none":
        return "is not logged"
    if each.log == "hash":
        return _HASHED
    if trained is None:
        return "has no distribution of training rows"
    if _is_text(each, trained) and not each.nullable:
        return "is text without categories" if each.dtype == "string" else _HASHED
    return "" if logged else "has no column in the log"


def _is_text(each: Input, trained: Histogram) -> bool:
    """Whether the values have no bins: only the share of missing ones can be compared."""
    return each.dtype in ("string", "bytes") and trained.categories is None


def _watched_input(each: Input, column: str, trained: Histogram) -> Watched:
    # An input of an older version may be called as the prediction is.
    name = f"{each.name} (input)" if each.name == PREDICTION else each.name
    if trained.categories is not None:
        expression = category_number(column, [str(category) for category in trained.categories])
        return Watched(name, column, expression, _indices(trained), trained, each.nullable)
    if _is_text(each, trained):
        return Watched(name, column, present(column), [], trained, each.nullable)
    edges = [_before(edge) for edge in trained.edges]
    limits = None
    if each.minimum is not None and each.maximum is not None:
        limits = (each.minimum, each.maximum)
        edges = sorted({*edges, _before(each.minimum), each.maximum})
    return Watched(name, column, number(column, each.dtype), edges, trained, each.nullable, limits)


def _watched_prediction(output: Output, trained: Histogram) -> Watched:
    if trained.categories is not None:
        expression = class_number([str(category) for category in trained.categories])
        return Watched(PREDICTION, None, expression, _indices(trained), trained)
    expression = norm("scores") if output.role == "vector" else "prediction"
    return Watched(PREDICTION, None, expression, [_before(edge) for edge in trained.edges], trained)


def _indices(trained: Histogram) -> list[float]:
    return [float(at) for at in range(len(trained.counts))]


def _by_day(archive: Archive, version: str, watched: list[Watched]) -> dict[str, BinCounts]:
    """Rows by bin, by day.

    DuckDB's histogram closes bins on the right, reference.json on the left. No number is between an edge and the
    number before it, so "at most that number" is "less than the edge".
    """
    by_day = {}
    counted = queries.daily_histograms(archive, version, [(each.expression, each.edges) for each in watched])
    for day, rows, histograms in counted:
        counts = BinCounts(rows, {}, {})
        for each, histogram in zip(watched, histograms, strict=True):
            counts.bins[each.name] = each.bins(histogram)
            counts.outside[each.name] = each.outside(histogram)
        by_day[day] = counts
    return by_day


def largest_index(rows: Distribution, day: str) -> tuple[float, str]:
    """The largest stability index of a day and what it is of; 0 and "" for no rows."""
    counts = rows.by_day.get(day)
    if counts is None:
        return 0.0, ""
    hidden = rows.unwatched.get(_REDACTED, [])
    pairs = {
        each.name: each.pair(counts.bins[each.name], counts.rows) for each in rows.watched if each.name not in hidden
    }
    indices = {
        name: float(drift.stability_index(np.asarray(pair.served), np.asarray(pair.trained)))
        for name, pair in pairs.items()
        if sum(pair.served)
    }
    worst = max(indices, key=lambda name: indices[name], default="")
    return (indices[worst], worst) if indices.get(worst, 0.0) > 0 else (0.0, "")


def _before(edge: float) -> float:
    """The largest number less than an edge."""
    return float(np.nextafter(edge, -np.inf))


def _sum(parts: Iterable[BinCounts]) -> BinCounts:
    total = BinCounts(0, {}, {})
    for part in parts:
        total.rows += part.rows
        for name, bins in part.bins.items():
            total.bins[name] = [a + b for a, b in zip(total.bins.get(name, [0] * len(bins)), bins, strict=True)]
            total.outside[name] = total.outside.get(name, 0) + part.outside[name]
    return total
