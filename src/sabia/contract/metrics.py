"""Metrics that a predictor exports for a rollout to compare, and the parser of a `/metrics` page.

Every version exports the same names, each with the labels `model` and `version`. A counter's name ends with `_total`,
a histogram's samples end with `_bucket`, `_count` and `_sum`; the buckets are those of `sabia.contract.durations`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sabia.contract.signature import Bins

# By `route` and `status_class`.
REQUESTS = "sabia_requests_total"
STATUS_CLASSES = ("2xx", "3xx", "4xx", "5xx")
# Beside those of statuses: the response would have come after a deadline that the client chose; the version lacks the
# operation that the client asked for, such as explanations. Neither says anything of the version's predictions; such
# requests are in no histogram of their duration.
DEADLINE_CLASS, UNSUPPORTED_CLASS = "deadline", "unsupported"
# By `route`: the whole duration of a request, and what the version itself took of it.
REQUEST_SECONDS = "sabia_request_duration_seconds"
DECISION_SECONDS = "sabia_decision_duration_seconds"
# By `route` and `bin`, see `bin_labels`.
PREDICTIONS = "sabia_predictions_total"
# By `digest`: the version that is served; always 1.
MODEL_INFO = "sabia_model_info"

BUCKET_SUFFIX = "_bucket"

_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"'
_LABELS = re.compile(_LABEL)
_SAMPLE = re.compile(rf"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{{((?:{_LABEL},?)*)\}})? (\S+)", re.MULTILINE)
_ESCAPED = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n"}


def bin_labels(bins: Bins) -> list[str]:
    """The values of the label `bin`: the classes and "other", or the numbers of the bins, from 0."""
    if bins.kind != "classes":
        return [str(at) for at in range(len(bins))]
    labels: list[str] = []
    for name in bins.names:
        label = name or '""'  # to Prometheus an empty label is none
        while label in labels:  # a class may be called "other", or be 1 beside "1"
            label += "'"
        labels.append(label)
    return labels


class Sample(NamedTuple):
    """One sample of a page."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(page: str) -> Iterator[Sample]:
    """The samples of a page in Prometheus' text format, in its order; comments and time stamps are left out."""
    for match in _SAMPLE.finditer(page):
        labels = {name: _unescaped(value) for name, value in _LABELS.findall(match[2] or "")}
        yield Sample(match[1], labels, float(match[5]))


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), value) if "\\" in value else value
