"""CloudEvents around V1 requests, as Knative sends them: structured (the event is the body) or binary (headers).

Only the envelope is handled here. `time` is optional, as the specification says; the four required attributes are
required.
"""

from __future__ import annotations

import enum
import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from sabia.serving.errors import InvalidInput
from sabia.serving.http.messages import Request, Response

STRUCTURED = "application/cloudevents+json"
_REQUIRED = ("specversion", "id", "source", "type")
# The headers of a binary event; a request with one of them needs all of them.
REQUIRED = frozenset(f"ce-{attribute}".encode() for attribute in _REQUIRED)


class Mode(enum.Enum):
    """How a request is wrapped."""

    NONE = "none"
    STRUCTURED = "structured"
    BINARY = "binary"


def mode_of(request: Request) -> Mode:
    """How this request is wrapped, by its media type and headers."""
    if request.media_type == STRUCTURED:
        return Mode.STRUCTURED
    return Mode.NONE if REQUIRED.isdisjoint(request.headers) else Mode.BINARY


def check_binary(request: Request) -> None:
    """Raise InvalidInput when a binary event lacks a required attribute."""
    for attribute in _REQUIRED:
        if not request.headers.get(f"ce-{attribute}".encode()):
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


def wrap(document: dict[str, Any], mode: Mode, model: str) -> Response:
    """The response, wrapped as its request was."""
    if mode is Mode.STRUCTURED:
        event = {**_attributes(model), "datacontenttype": "application/json", "data": document}
        return Response(body=msgspec.json.encode(event), media_type=STRUCTURED)
    response = Response(body=msgspec.json.encode(document))
    if mode is Mode.BINARY:
        response.headers |= {f"ce-{name}": value for name, value in _attributes(model).items()}
    return response
