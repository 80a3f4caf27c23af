"""Records requests and responses in the metrics and the inference log.

Statuses and durations are counted with each response. The predictions of single rows are recorded some dozens at a
time, which takes a fraction of the time: they are flushed when there are enough, twice a second, and before each page
of metrics. Everything here happens on the event loop and nowhere else, since counting is not atomic.
"""

from __future__ import annotations

import struct
from time import perf_counter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.contract.metrics import DEADLINE_CLASS, UNSUPPORTED_CLASS
from sabia.serving.errors import ClientDeadlineExceeded, Unsupported
from sabia.serving.http.messages import Request, Response
from sabia.serving.inference.batch import Batch, joined
from sabia.serving.inference.counting import Digest
from sabia.serving.inference.typed import Served, TypedModel
from sabia.serving.telemetry.metrics import VersionMetrics
from sabia.serving.telemetry.sink import Log

Array = NDArray[np.float64]

# Single rows that are flushed together: a twentieth of a millisecond of work.
_FLUSH_AT = 64


class Measured(msgspec.Struct, gc=False):
    """What one prediction took, in seconds, and its rows and predictions; a single row's without arrays."""

    stage: str
    parse: float
    predict: float
    write: float
    prediction: Any  # float64 of shape (rows,), or a float; of a typed model its outputs
    rows: Any  # float64 of shape (rows, columns), or a list of floats; of a typed model a Batch
    prepared: Any = None  # see `Recorder.prepare`


class _Prepared(NamedTuple):
    """What is counted of some rows, and what the log keeps of them; None without a log."""

    digest: Digest
    kept: Any


# Request id, start by `perf_counter`, duration in seconds, route, and what was predicted.
_Single = tuple[bytes, float, float, str, Measured]


class Recorder:
    """Records one version's requests.

    Attributes:
        log: gets every request and its response; None without an inference log.
    """

    def __init__(self, model: Served, metrics: VersionMetrics, log: Log | None) -> None:
        self.log = log
        self._model, self._metrics = model, metrics
        self._pack = struct.Struct(f"{len(model.names)}d").pack
        self._singles: list[_Single] = []
        # Rows of tensors are not gathered: some dozens of images would be held.
        self._gathers = all(each.is_scalar for each in model.signature.inputs)
        self._none = np.zeros(len(model.names), dtype=np.int64)
        self._nullable = any(each.nullable for each in model.signature.inputs)

    def record(self, response: Response, request: Request) -> None:
        """Record a response that is about to be sent."""
        route, seconds = request.route, perf_counter() - request.started
        measured: Measured | None = response.measured
        if measured is None:
            record_error(response, request, seconds, self._metrics, self.log)
            return
        self._metrics.count_response(response.status, seconds, route)
        if type(measured.rows) is list or self._is_gathered(measured):
            self._singles.append((request.id, request.started, seconds, route, measured))
            if len(self._singles) >= _FLUSH_AT:
                self.flush()
        else:
            self._record_many(request.id, seconds, route, measured)

    def record_late(self, response: Response, request: Request) -> None:
        """Count a prediction that ended after its request's deadline: clients must not hide how long it takes."""
        measured: Measured | None = response.measured
        if measured is not None:
            self._record_many(request.id, 0.0, request.route, measured, logged=False)

    def prepare(self, measured: Measured) -> None:
        """Compute what will be counted and logged, now, instead of on the event loop; callable from any thread.

        Of a typed model's rows: hashing an image takes a third of a millisecond. Single rows of no tensors are left
        to be recorded together.
        """
        if isinstance(measured.rows, Batch) and not self._is_gathered(measured):
            measured.prepared = self._prepared(measured.rows, measured.prediction)
            measured.rows = measured.prediction = None  # held no longer than the response

    def flush(self) -> None:
        """Record the single rows that wait."""
        if not self._singles:
            return
        singles, self._singles = self._singles, []
        routes = {route for _, _, _, route, _ in singles}
        for route in routes:
            self._record_rows(singles if len(routes) == 1 else [each for each in singles if each[3] == route], route)

    def _is_gathered(self, measured: Measured) -> bool:
        return self._gathers and isinstance(measured.rows, Batch) and len(measured.rows) == 1

    def _record_rows(self, singles: list[_Single], route: str) -> None:
        ids, started, seconds, _, measured = zip(*singles, strict=True)
        if type(measured[0].rows) is list:
            # Half the time of making an array of lists.
            packed = b"".join([self._pack(*each.rows) for each in measured])
            rows: Any = np.frombuffer(packed).reshape(len(measured), len(self._model.names))
            prediction: Any = np.array([each.prediction for each in measured])
        else:
            rows = joined([each.rows for each in measured])
            outputs = measured[0].prediction
            prediction = {name: np.concatenate([each.prediction[name] for each in measured]) for name in outputs}
        took = np.array([(each.parse, each.predict, each.write) for each in measured]).T
        prepared = self._prepared(rows, prediction)
        self._count("predict", prepared.digest, tuple(took), route)
        if self.log is not None:
            self.log.singles(ids, prepared.kept, np.array(started), np.array(seconds), route)

    def _record_many(
        self, request_id: bytes, seconds: float, route: str, measured: Measured, *, logged: bool = True
    ) -> None:
        took = tuple(np.array([[measured.parse], [measured.predict], [measured.write]]))
        prepared = measured.prepared or self._prepared(measured.rows, measured.prediction)
        self._count(measured.stage, prepared.digest, took, route)
        if logged and self.log is not None:
            self.log.many(request_id, prepared.kept, seconds, route)

    def _prepared(self, rows: Any, prediction: Any) -> _Prepared:
        return _Prepared(self._digest(rows, prediction), self.log and self.log.kept(rows, prediction))

    def _digest(self, rows: Any, prediction: Any) -> Digest:
        model = self._model
        if isinstance(model, TypedModel):
            return model.digest(rows, prediction)
        missing = np.isnan(rows).sum(axis=0) if self._nullable else self._none
        return Digest(model.bin_counts(prediction), model.out_of_range(rows), self._none, missing)

    def _count(self, stage: str, digest: Digest, took: tuple[Array, ...], route: str) -> None:
        """Count predictions; parsing, predicting and writing took arrays of shape (requests,)."""
        metrics = self._metrics
        metrics.count_predictions(digest.bins, digest.outside, route)
        metrics.count_inputs(digest.unknown, digest.missing)
        metrics.count_prediction_time(sum(took[1:], took[0]), route)
        for name, seconds in zip(("preprocess", stage, "postprocess"), took, strict=True):
            metrics.count_stage(name, seconds)


def record_error(
    response: Response, request: Request, seconds: float, metrics: VersionMetrics, log: Log | None
) -> None:
    """Record an error response: in the class of its status, or in one for what says nothing of the version."""
    if isinstance(response.error, ClientDeadlineExceeded):
        metrics.count_class(DEADLINE_CLASS, request.route)
    elif isinstance(response.error, Unsupported):
        metrics.count_class(UNSUPPORTED_CLASS, request.route)
    else:
        metrics.count_response(response.status, seconds, request.route)
    if log is not None:
        log.error(request.id, response.status, response.body, seconds, request.route)
