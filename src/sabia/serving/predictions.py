"""A request for predictions, from its body to its response: parse, predict, write.

What takes microseconds is done at once, on the event loop; what takes longer, in a few threads, so that nothing waits
behind it. Which of them is known before: how long parsing takes from the size of the body, and how long predicting
takes from what the model took lately. `respond` chooses:

1. a body too large to be parsed on the loop: all three steps in a thread;
2. one row that is predicted quickly: on the loop, alone (`_row`) or, when requests arrive together, in one run with the
   others (`_batch`);
3. more rows that are predicted quickly: on the loop (`_rows`);
4. rows that take longer, and those that trees explain: parsed on the loop, `_rows` in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from sabia.contract.names import FAULT_HEADER
from sabia.serving.errors import (
    ClientDeadlineExceeded,
    DeadlineExceeded,
    NotReady,
    RequestError,
    as_client_error,
    as_request_error,
)
from sabia.serving.http.messages import Request, Response, error_response
from sabia.serving.inference import faults
from sabia.serving.inference.batching import Batcher
from sabia.serving.inference.pool import Pool
from sabia.serving.inference.typed import Served, TypedModel
from sabia.serving.protocols import headers
from sabia.serving.protocols.jobs import Job, Row
from sabia.serving.protocols.parsers import Parse, ParsePlain
from sabia.serving.readiness import Readiness
from sabia.serving.settings import Settings
from sabia.serving.telemetry.recorder import Measured, Recorder

# What a request may cost on the event loop: the longest that health, metrics and other requests wait behind it.
_ON_LOOP_SECONDS = 0.001
# Parsing this much JSON takes about as long.
_ON_LOOP_BYTES = 64 * 1024
# One slow request may be the machine's doing; this many in a row are the model's.
_SLOW_IN_A_ROW = 3


class Predictions:
    """The predictions of one version.

    Args:
        recorder: records what is answered later; what `respond` returns at once, its caller records.
    """

    def __init__(self, model: Served, settings: Settings, recorder: Recorder, readiness: Readiness) -> None:
        # Its rows are those that its parsers make, whichever kind of model it is.
        self._model: Any = model
        self._primary = model.primary if isinstance(model, TypedModel) else None
        self._recorder, self._readiness = recorder, readiness
        self._timeout, self._behind_gateway = settings.request_timeout_seconds, settings.behind_gateway
        self._pool: Pool[Response] = Pool(settings.threads, settings.queue)
        self._faults = faults.parse(settings.faults)
        # The linear fast path is faster for one row than a batch is for each of many.
        self._batches = settings.batch_rows > 1 and not model.has_fast_path
        self._batcher = Batcher(self._batch, settings.batch_rows if self._batches else 0)
        self._slow = 0

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread, or are predicted in one."""
        return self._pool.open

    def close(self) -> None:
        """Predict nothing more."""
        self._pool.close()

    def respond(
        self, stage: str, request: Request, parse_plain: ParsePlain | None, parse: Parse
    ) -> Response | asyncio.Future[Response]:
        """The response to one request, now or later.

        Args:
            stage: under which of KServe's names it is counted.
            request: its body is parsed by the following two.
            parse_plain: parses what nearly every client sends, or returns None.
            parse: parses anything, or raises what is wrong with it.

        Raises:
            RequestError: it cannot be answered.
        """
        if not self._readiness.model_ready:
            raise NotReady(self._model.name)
        model = self._model
        started = perf_counter()
        if self._faults is not None or headers.json_bytes(request) > _ON_LOOP_BYTES:
            return self._in_thread(request, partial(self._parse_and_predict, stage, request, parse_plain, parse))
        try:
            parsed = (parse_plain(request, model) if parse_plain is not None else None) or parse(request, model)
        except Exception as error:  # whatever a parser meets, the model was not asked
            raise as_client_error(error) from error
        if isinstance(parsed, Row) and model.expected_seconds(1) < _ON_LOOP_SECONDS:
            return self._row(request, parsed, started)
        job = parsed.job() if isinstance(parsed, Row) else parsed
        if not job.is_slow and model.expected_seconds(len(job.rows)) < _ON_LOOP_SECONDS:
            return self._rows(stage, job, started)
        return self._in_thread(request, partial(self._rows, stage, job, started, perf_counter() - started))

    def _row(self, request: Request, row: Row, started: float) -> Response | asyncio.Future[Response]:
        """One row of numbers, as nearly every request has; no arrays."""
        if self._batcher.should_gather(started):
            return self._batcher.add((request, row, perf_counter() - started))
        parsed = perf_counter()
        prediction = self._model.predict_row(row.values)
        predicted = perf_counter()
        if predicted - parsed > _ON_LOOP_SECONDS:
            self._slow += 1
            if self._slow >= _SLOW_IN_A_ROW:
                self._model.record_duration(1, predicted - parsed)
        elif self._slow:
            self._slow = 0
        response = _write_row(row, prediction, parsed - started, predicted - parsed)
        if self._batches:
            self._batcher.note_end(perf_counter())
        return response

    def _batch(self, requests: list[tuple[Request, Row, float]]) -> list[Response]:
        """Some single rows in one run, recorded; one that fails does not take its neighbours with it."""
        started = perf_counter()
        try:
            predictions = self._model.predict(np.array([row.values for _, row, _ in requests])).tolist()
        except RequestError:
            return [self._row_of_batch(*each) for each in requests]
        share = (perf_counter() - started) / len(requests)
        responses = []
        for (request, row, parse_seconds), prediction in zip(requests, predictions, strict=True):
            responses.append(_write_row(row, prediction, parse_seconds, share))
            self._recorder.record(responses[-1], request)
        return responses

    def _row_of_batch(self, request: Request, row: Row, parse_seconds: float) -> Response:
        started = perf_counter()
        try:
            prediction = self._model.predict_row(row.values)
        except RequestError as error:
            response = error_response(error)
        else:
            response = _write_row(row, prediction, parse_seconds, perf_counter() - started)
        self._recorder.record(response, request)
        return response

    def _parse_and_predict(
        self, stage: str, request: Request, parse_plain: ParsePlain | None, parse: Parse
    ) -> Response:
        started, model = perf_counter(), self._model
        try:
            parsed = (parse_plain(request, model) if parse_plain is not None else None) or parse(request, model)
        except Exception as error:  # whatever a parser meets, the model was not asked
            raise as_client_error(error) from error
        return self._rows(stage, parsed.job() if isinstance(parsed, Row) else parsed, started)

    def _rows(self, stage: str, job: Job[Any, Any], started: float, parse_seconds: float | None = None) -> Response:
        """Rows of any number; `parse_seconds` when they were parsed before, elsewhere."""
        parsed, used = perf_counter(), thread_time()
        fault: str | None = None
        if self._faults is None:
            prediction = self._model.predict(job.rows)
        else:
            prediction, fault = self._faults(self._model.predict, job.rows, self._primary)
        predicted = perf_counter()
        # By this thread's own clock: on a busy machine the wall clock counts others too.
        self._model.record_duration(len(job.rows), thread_time() - used)
        response = job.write(prediction)
        written = perf_counter()
        if job.is_slow:  # an explanation is no part of writing the response
            predicted = written
        if fault is not None:
            response.headers[FAULT_HEADER] = fault
        if parse_seconds is None:
            parse_seconds = parsed - started
        response.measured = Measured(
            stage, parse_seconds, predicted - parsed, written - predicted, prediction, job.rows
        )
        self._recorder.prepare(response.measured)
        return response

    def _in_thread(self, request: Request, work: Callable[[], Response]) -> asyncio.Future[Response]:
        seconds, by_client = headers.allowed(request, self._timeout, behind_gateway=self._behind_gateway)

        def finish(outcome: Response | BaseException) -> Response:
            if by_client and isinstance(outcome, DeadlineExceeded):
                outcome = ClientDeadlineExceeded()
            response = error_response(as_request_error(outcome)) if isinstance(outcome, BaseException) else outcome
            self._recorder.record(response, request)
            return response

        return self._pool.submit(
            work, request.started + seconds, finish, late=partial(self._recorder.record_late, request=request)
        )


def _write_row(row: Row, prediction: float, parse_seconds: float, predict_seconds: float) -> Response:
    """The response to one row."""
    started = perf_counter()
    response = Response(200, row.write(prediction))
    response.measured = Measured(
        "predict", parse_seconds, predict_seconds, perf_counter() - started, prediction, row.values
    )
    return response
