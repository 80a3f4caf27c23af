"""reference.json: the distribution of the training rows, by which a server and a report recognise new data.

The structs below are the format; `docs/schemas/reference.schema.json` is made from them. The bins are those of
`sabia.contract.bins`. Features have the training rows' deciles as edges. The prediction has equal bins over its
declared range, not its own quantiles: two versions are compared bin by bin, so their bins must be the same.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import msgspec

from sabia.contract.errors import InvalidReference

SCHEMA_VERSION = 1

Count = Annotated[int, msgspec.Meta(ge=0)]


class Histogram(msgspec.Struct, frozen=True):
    """Rows by bin: `edges` are the inner ones, ascending; `counts` has one number more."""

    edges: list[float]
    counts: Annotated[list[Count], msgspec.Meta(min_length=1)]


class Reference(msgspec.Struct, frozen=True):
    """The training rows: their number, and histograms of every feature and of the prediction."""

    schema_version: int
    rows: Count
    features: dict[str, Histogram]
    prediction: Histogram


def encode(reference: Reference) -> bytes:
    """The bytes of reference.json."""
    return msgspec.json.format(msgspec.json.encode(reference), indent=1) + b"\n"


def decode(data: bytes) -> Reference:
    """Read reference.json.

    Raises:
        InvalidReference: it has another schema, or a histogram whose edges do not ascend or do not fit its counts.
    """
    try:
        reference = msgspec.json.decode(data, type=Reference)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidReference(str(error).rstrip(".")) from error
    if reference.schema_version != SCHEMA_VERSION:
        raise InvalidReference(f"it has schema_version {reference.schema_version}; this release reads {SCHEMA_VERSION}")
    for name, histogram in {**reference.features, "prediction": reference.prediction}.items():
        if len(histogram.counts) != len(histogram.edges) + 1:
            raise InvalidReference(f"{name!r} has {len(histogram.edges)} edges and {len(histogram.counts)} counts")
        if any(low >= high for low, high in pairwise(histogram.edges)):
            raise InvalidReference(f"the edges of {name!r} do not ascend")
    return reference
