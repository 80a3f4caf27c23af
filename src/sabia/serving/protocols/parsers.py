"""Which functions read and write the requests of a model: those of a scalar signature, or those of any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sabia.serving.http.messages import Request
from sabia.serving.inference.typed import Served, TypedModel
from sabia.serving.protocols import typed, v1, v2
from sabia.serving.protocols.jobs import Job, Row
from sabia.serving.protocols.plainrows import PlainRows
from sabia.serving.protocols.plaintensors import PlainTensors

ParsePlain = Callable[[Request, Any], "Row | Job[Any, Any] | None"]
Parse = Callable[[Request, Any], "Job[Any, Any]"]


class Parsers(NamedTuple):
    """The parsers of one model's requests; `plain` ones know only the form that nearly every client sends."""

    predict_plain: ParsePlain | None
    predict: Parse
    explain: Parse
    infer_plain: ParsePlain | None
    infer: Parse
    metadata: Callable[[Any], dict[str, Any]]


def parsers_of(model: Served) -> Parsers:
    """The parsers of a model's requests."""
    if isinstance(model, TypedModel):
        readable = PlainRows.readable(model)
        rows = PlainRows(model).parse if readable else None
        tensors = PlainTensors(model).parse if readable else None
        return Parsers(rows, typed.parse_predict, typed.parse_explain, tensors, typed.parse_infer, typed.metadata)
    return Parsers(v1.parse_plain, v1.parse_predict, v1.parse_explain, v2.parse_plain, v2.parse, v2.metadata)
