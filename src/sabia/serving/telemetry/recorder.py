"""What was asked and answered, told to the metrics and to the inference log.

How many calls got which status is counted as they are answered. What else there is to say of single rows is said of
some dozens of them together, which takes a fraction of the time: when so many have come, twice a second, and before
anybody looks. Everything here happens on the event loop and nowhere else, since counting is not atomic.
"""

from __future__ import annotations

import struct
from time import perf_counter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.contract.names import MIRROR, MIRROR_HOST_SUFFIX, PIN, PIN_HEADER, SPLIT
from sabia.serving.http.messages import Request, Response
from sabia.serving.inference.model import Model
from sabia.serving.telemetry.metrics import VersionMetrics
from sabia.serving.telemetry.sink import Log

Array = NDArray[np.float64]

# So many single rows are told of together: a twentieth of a millisecond of work.
_TOGETHER = 64
_PIN_HEADER, _MIRROR_SUFFIX = PIN_HEADER.encode(), MIRROR_HOST_SUFFIX.encode()


class Measured(msgspec.Struct, gc=False):
    """What one decision took, in seconds, and what it decided; a single row's without arrays."""

    stage: str
    read: float
    decide: float
    write: float
    prediction: Any  # float64 of shape (rows,), or a float
    rows: Any  # float64 of shape (rows, columns), or a list of floats


# Request id, when the request began by `perf_counter`, how many seconds it took, by which route, and what was decided.
_Single = tuple[bytes, float, float, str, Measured]


class Recorder:
    """Tells of one version's calls.

    Attributes:
        log: gets what is asked and answered, if anything does.
    """

    def __init__(self, model: Model, metrics: VersionMetrics, log: Log | None) -> None:
        self.log = log
        self._model, self._metrics = model, metrics
        self._version = model.version.encode()
        self._pack = struct.Struct(f"{model.width}d").pack
        self._singles: list[_Single] = []

    def record(self, response: Response, request: Request) -> None:
        """Take note of a call that is about to be answered."""
        route, seconds = self._route_of(request), perf_counter() - request.started
        self._metrics.count_response(response.status, seconds, route)
        found: Measured | None = response.measured
        if found is None:
            if self.log is not None:
                self.log.error(request.id, response.status, response.body, seconds, route)
        elif type(found.rows) is list:
            self._singles.append((request.id, request.started, seconds, route, found))
            if len(self._singles) >= _TOGETHER:
                self.flush()
        else:
            self._many(request.id, seconds, route, found)

    def flush(self) -> None:
        """Tell of the single rows that wait for it."""
        if not self._singles:
            return
        singles, self._singles = self._singles, []
        routes = {route for _, _, _, route, _ in singles}
        for route in routes:
            self._together(singles if len(routes) == 1 else [each for each in singles if each[3] == route], route)

    def _together(self, singles: list[_Single], route: str) -> None:
        ids, started, seconds, _, found = zip(*singles, strict=True)
        # Half the time of making an array of lists.
        packed = b"".join([self._pack(*each.rows) for each in found])
        rows = np.frombuffer(packed).reshape(len(found), self._model.width)
        prediction, read, decide, write = np.array(
            [(each.prediction, each.read, each.decide, each.write) for each in found]
        ).T
        self._decided("predict", rows, prediction, (read, decide, write), route)
        if self.log is not None:
            self.log.singles(ids, rows, prediction, np.array(started), np.array(seconds), route)

    def _many(self, request_id: bytes, seconds: float, route: str, found: Measured) -> None:
        took = tuple(np.array([[found.read], [found.decide], [found.write]]))
        self._decided(found.stage, found.rows, found.prediction, took, route)
        if self.log is not None:
            self.log.many(request_id, found.rows, found.prediction, seconds, route)

    def _decided(self, stage: str, rows: Array, prediction: Array, took: tuple[Array, ...], route: str) -> None:
        """Count what was decided; reading, deciding and writing took arrays of shape (calls,)."""
        metrics, model = self._metrics, self._model
        metrics.count_predictions(model.bin_counts(prediction), model.out_of_range(rows), route)
        metrics.count_prediction_time(sum(took[1:], took[0]), route)
        for name, seconds in zip(("preprocess", stage, "postprocess"), took, strict=True):
            metrics.count_stage(name, seconds)

    def _route_of(self, request: Request) -> str:
        """Which way it took: Envoy marks a copy in its host name, and a client that pins says so in a header."""
        headers = request.headers
        if headers.get(b"host", b"").partition(b":")[0].endswith(_MIRROR_SUFFIX):
            return MIRROR
        return PIN if headers.get(_PIN_HEADER) == self._version else SPLIT
