"""Minutes of flight between two airports: a `kserve.Model`, as KServe's own server runs it too."""

from __future__ import annotations

from math import acos, cos, radians, sin
from typing import Any
from uuid import uuid4

from kserve import InferOutput, InferRequest, InferResponse, Model
from kserve.errors import InvalidInput

AIRPORTS = {  # degrees north, degrees east
    "EWR": (40.69, -74.17),
    "IAH": (29.98, -95.34),
    "JFK": (40.64, -73.78),
    "LAX": (33.94, -118.41),
    "LGA": (40.78, -73.87),
    "MIA": (25.79, -80.29),
    "ORD": (41.98, -87.90),
}
_EARTH_MILES = 3959
_MILES_A_MINUTE = 8
_CLIMB_MINUTES = 20

Payload = dict[str, Any] | InferRequest


class AirTime(Model):
    """Climb, descent, and the shortest way at 480 miles an hour."""

    def load(self) -> bool:
        """Open what the model needs; this one needs nothing."""
        self.ready = True
        return self.ready

    def preprocess(
        self, payload: Payload, headers: dict[str, str] | None = None
    ) -> tuple[Payload, list[tuple[str, str]]]:
        """Read the airports of each row: V1 rows, or the V2 tensors `origin` and `dest`."""
        try:
            rows = _rows(payload)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput('each row needs an "origin" and a "dest"') from error
        for airport in (each for row in rows for each in row):
            if airport not in AIRPORTS:
                raise InvalidInput(f"there is no airport {airport!r}")
        return payload, rows

    def predict(
        self, payload: tuple[Payload, list[tuple[str, str]]], headers: dict[str, str] | None = None
    ) -> tuple[Payload, list[float]]:
        """Predict the minutes of each row."""
        request, rows = payload
        return request, [_CLIMB_MINUTES + _miles(*row) / _MILES_A_MINUTE for row in rows]

    def postprocess(
        self, result: tuple[Payload, list[float]], headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        """Respond in the protocol of the request, in whole minutes."""
        request, minutes = result
        whole = [round(each) for each in minutes]
        if isinstance(request, InferRequest):
            name = request.id or str(uuid4())
            return InferResponse(name, self.name, [InferOutput("minutes", [len(whole)], "INT64", data=whole)])
        return {"predictions": whole}


def _rows(payload: Payload) -> list[tuple[str, str]]:
    if isinstance(payload, InferRequest):
        columns = {each.name: list(map(_text, each.as_numpy().ravel())) for each in payload.inputs}
        return list(zip(columns["origin"], columns["dest"], strict=True))
    return [(str(row["origin"]), str(row["dest"])) for row in payload["instances"]]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _miles(origin: str, dest: str) -> float:
    (north, east), (other_north, other_east) = (map(radians, AIRPORTS[airport]) for airport in (origin, dest))
    cosine = sin(north) * sin(other_north) + cos(north) * cos(other_north) * cos(east - other_east)
    return _EARTH_MILES * acos(min(1.0, cosine))
