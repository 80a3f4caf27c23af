"""V1 calls: `:predict` and `:explain`, plain or in a CloudEvent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.serving.errors import InvalidInput
from sabia.serving.http.messages import Answer, Request
from sabia.serving.inference.decision import Decision
from sabia.serving.protocols import cloudevents, headers
from sabia.serving.protocols.instances import read_instances, read_lists
from sabia.serving.protocols.jobs import Job, Row
from sabia.serving.protocols.pieces import one_at_a_time

Array = NDArray[np.float64]

_BEFORE, _AFTER = b'{"predictions":[', b"]}"


def fast(request: Request, decision: Decision) -> Row | Job | None:
    """The call, when it is plain rows of numbers; None is no error, and `read_predict` finds out what it is."""
    if not headers.is_plain(request) or not cloudevents.REQUIRED.isdisjoint(request.headers):
        return None
    found = read_lists(request.body, decision.width)
    if isinstance(found, list):
        return Row(found, _BEFORE, _AFTER)
    return None if found is None else _job(found, _predictions, cloudevents.Mode.NONE, decision)


def read_predict(request: Request, decision: Decision) -> Job:
    """Read a `:predict` call.

    Raises:
        RequestError: says what is wrong with it.
    """
    return _read(request, decision, _predictions)


def read_explain(request: Request, decision: Decision) -> Job:
    """Read an `:explain` call.

    Raises:
        RequestError: says what is wrong with it, or that these methods cannot be explained.
    """
    return _read(request, decision, _explanations)


def _read(request: Request, decision: Decision, document_of: Callable[[Decision, Array, Array], Any]) -> Job:
    headers.check(request, cloudevents.STRUCTURED)
    mode = cloudevents.mode_of(request)
    if mode is cloudevents.Mode.BINARY:
        cloudevents.check_binary(request)
    return _job(_rows(request.body, mode, decision), document_of, mode, decision)


def _rows(body: bytes, mode: cloudevents.Mode, decision: Decision) -> Array:
    if not body:
        raise InvalidInput("The body", "is empty")
    with one_at_a_time(len(body)):
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput("The body", "is not JSON") from error
        if mode is cloudevents.Mode.STRUCTURED:
            document = cloudevents.data_of(document)
        return read_instances(document, decision)


def _job(
    rows: Array,
    document_of: Callable[[Decision, Array, Array], Any],
    mode: cloudevents.Mode,
    decision: Decision,
) -> Job:
    def write(prediction: Array) -> Answer:
        return cloudevents.wrap(document_of(decision, rows, prediction), mode, decision.name)

    return Job(rows, write)


def _predictions(decision: Decision, rows: Array, prediction: Array) -> dict[str, Any]:
    del decision, rows
    return {"predictions": prediction.tolist()}


def _explanations(decision: Decision, rows: Array, prediction: Array) -> dict[str, Any]:
    contributions, intercept = decision.explain(rows)
    return {
        "explanations": [
            {
                "prediction": answer,
                "score": intercept + sum(values),
                "intercept": intercept,
                "contributions": dict(zip(decision.names, values, strict=True)),
            }
            for answer, values in zip(prediction.tolist(), contributions.tolist(), strict=True)
        ]
    }
