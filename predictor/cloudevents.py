"""CloudEvents around V1 calls, as Knative's brokers send them: structured (the event is the body) or binary (headers).

Only the envelope is handled here. `time` is optional, as the specification says; the four required attributes are
required.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from predictor.errors import InvalidInput

STRUCTURED = "application/cloudevents+json"
_REQUIRED = ("specversion", "id", "source", "type")


class Mode(enum.Enum):
    """How a call is wrapped."""

    NONE = "none"
    STRUCTURED = "structured"
    BINARY = "binary"


def mode_of(media_type: str, headers: Mapping[str, str]) -> Mode:
    """How this request is wrapped, by its media type and headers (lower-case names)."""
    if media_type == STRUCTURED:
        return Mode.STRUCTURED
    return Mode.BINARY if any(name.startswith("ce-") for name in headers) else Mode.NONE


def check_binary(headers: Mapping[str, str]) -> None:
    """Raise InvalidInput when a binary event lacks a required attribute."""
    for attribute in _REQUIRED:
        if not headers.get(f"ce-{attribute}"):
            raise InvalidInput(f"Header ce-{attribute}", "is missing from a binary CloudEvent")


def data_of(event: object) -> object:
    """The data of a structured event.

    Raises:
        InvalidInput: the body is not an event.
    """
    if not isinstance(event, dict):
        raise InvalidInput("The body", "is not a CloudEvent; an object is needed")
    for attribute in _REQUIRED:
        if not isinstance(event.get(attribute), str) or not event[attribute]:
            raise InvalidInput(f'"{attribute}"', "is missing from a structured CloudEvent")
    if "data" not in event:
        raise InvalidInput('"data"', "is missing from a structured CloudEvent")
    return event["data"]


def _attributes(model: str) -> dict[str, str]:
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": f"io.kserve.inference.{model}",
        "type": "io.kserve.inference.response",
        "time": datetime.now(UTC).isoformat(),
    }


def structured(model: str, data: Any) -> dict[str, Any]:
    """The event that answers a structured event."""
    return {**_attributes(model), "datacontenttype": "application/json", "data": data}


def binary_headers(model: str) -> dict[str, str]:
    """The headers that answer a binary event."""
    return {f"ce-{name}": value for name, value in _attributes(model).items()}
