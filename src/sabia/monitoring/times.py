"""Times and quantiles, as the report writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

# The quantiles of a report.
LEVELS = (0.5, 0.9, 0.99, 0.999)
# The points of a cumulative distribution, for its plot.
CDF_LEVELS = (0.001, 0.01, *(step / 20 for step in range(1, 20)), 0.99, 0.995, 0.999, 1.0)


def by_level(quantiles: Mapping[float, float]) -> dict[str, float]:
    """Quantiles with text as keys, for JSON: 0.5 becomes "0.5"."""
    return {f"{level:g}": value for level, value in quantiles.items()}


def iso(moment: datetime | None) -> str:
    """A time in UTC to the millisecond; empty for None."""
    return "" if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")
