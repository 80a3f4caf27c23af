"""V1 requests: `:predict` and `:explain`, plain or in a CloudEvent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.serving.errors import InvalidInput
from sabia.serving.http.messages import Request, Response
from sabia.serving.inference.model import Model
from sabia.serving.inference.pool import check_deadline
from sabia.serving.protocols import cloudevents, explanations, headers
from sabia.serving.protocols.instances import parse_instances, parse_lists
from sabia.serving.protocols.jobs import Job, Row
from sabia.serving.protocols.pieces import one_at_a_time

Array = NDArray[np.float64]

_BEFORE, _AFTER = b'{"predictions":[', b"]}"


def parse_plain(request: Request, model: Model) -> Row | Job[Array, Array] | None:
    """The request, if it is plain rows of numbers; None is not an error, and `parse_predict` finds out what it is."""
    if not headers.is_plain(request) or not cloudevents.REQUIRED.isdisjoint(request.headers):
        return None
    rows = parse_lists(request.body, model.width)
    if isinstance(rows, list):
        return Row(rows, _BEFORE, _AFTER)
    return None if rows is None else _job(rows, _predictions, cloudevents.Mode.NONE, model)


def parse_predict(request: Request, model: Model) -> Job[Array, Array]:
    """Parse a `:predict` request.

    Raises:
        RequestError: says what is wrong with it.
    """
    return _parse(request, model, _predictions)


def parse_explain(request: Request, model: Model) -> Job[Array, Array]:
    """Parse an `:explain` request.

    Raises:
        RequestError: says what is wrong with it, or why these methods cannot be explained.
    """
    if model.linear is not None:
        return _parse(request, model, _explanations)
    model.explainer.check()
    job = _parse(request, model, _explanations)
    explanations.check_rows(len(job.rows))
    return replace(job, is_slow=True)


def decode(request: Request) -> tuple[object, cloudevents.Mode]:
    """The JSON document of a request, out of its event if it is in one.

    Raises:
        RequestError: the body is not JSON, or not the event that its headers say.
    """
    headers.check(request, cloudevents.STRUCTURED)
    mode = cloudevents.mode_of(request)
    if mode is cloudevents.Mode.BINARY:
        cloudevents.check_binary(request)
    if not request.body:
        raise InvalidInput("The body", "is empty")
    try:
        document = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("The body", "is not JSON") from error
    return cloudevents.data_of(document) if mode is cloudevents.Mode.STRUCTURED else document, mode


def _parse(request: Request, model: Model, document_of: Callable[[Model, Array, Array], Any]) -> Job[Array, Array]:
    with one_at_a_time(len(request.body)):
        document, mode = decode(request)
        rows = parse_instances(document, model)
    return _job(rows, document_of, mode, model)


def _job(
    rows: Array,
    document_of: Callable[[Model, Array, Array], Any],
    mode: cloudevents.Mode,
    model: Model,
) -> Job[Array, Array]:
    def write(prediction: Array) -> Response:
        return cloudevents.wrap(document_of(model, rows, prediction), mode, model.name)

    return Job(rows, write)


def _predictions(model: Model, rows: Array, prediction: Array) -> dict[str, Any]:
    del model, rows
    return {"predictions": prediction.tolist()}


def _explanations(model: Model, rows: Array, prediction: Array) -> dict[str, Any]:
    given = model.explain(rows, prediction, check_deadline)
    return explanations.document(model.names, prediction.tolist(), given)
