"""reference.json: the distribution of the training rows, by which a server and a report recognise new data.

The structs below are the format; `docs/schemas/reference.schema.json` is made from them. The bins of numbers are those
of `sabia.contract.bins`. Features that are numbers have the training rows' deciles as edges; strings and codes have a
bin for each category and one for others; tensors have none. The prediction has the bins of the manifest, which all
versions of a model share.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import msgspec

from sabia.contract.errors import InvalidReference

SCHEMA_VERSION = 2
READABLE = (1, 2)

Count = Annotated[int, msgspec.Meta(ge=0)]


class Histogram(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows by bin: `counts` has one number more than the inner `edges`, ascending, or than `categories`.

    The last bin of categories is that of others. `missing` rows had no value, and are in no bin.
    """

    edges: list[float]
    counts: Annotated[list[Count], msgspec.Meta(min_length=1)]
    categories: list[str | int] | None = None
    missing: Count = 0


class Reference(msgspec.Struct, frozen=True):
    """The training rows: their number, and histograms of every feature and of the prediction."""

    schema_version: int
    rows: Count
    features: dict[str, Histogram]
    prediction: Histogram


def build(rows: int, features: dict[str, Histogram], prediction: Histogram) -> Reference:
    """The reference, of the first schema that has what it needs: content that an older release wrote stays the same."""
    older = all(each.categories is None and not each.missing for each in (*features.values(), prediction))
    return Reference(1 if older else SCHEMA_VERSION, rows, features, prediction)


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
    if reference.schema_version not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise InvalidReference(f"it has schema_version {reference.schema_version}; this release reads {known}")
    for name, histogram in [*reference.features.items(), ("prediction", reference.prediction)]:
        of = "edges" if histogram.categories is None else "categories"
        parts = histogram.edges if histogram.categories is None else histogram.categories
        if len(histogram.counts) != len(parts) + 1 or (histogram.categories is not None and histogram.edges):
            raise InvalidReference(f"{name!r} has {len(parts)} {of} and {len(histogram.counts)} counts")
        if any(low >= high for low, high in pairwise(histogram.edges)):
            raise InvalidReference(f"the edges of {name!r} do not ascend")
    return reference
