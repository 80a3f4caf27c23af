"""The metrics of the served version. Stable and canary export the same names.

The counts are numbers in memory that the workers share; they become metric families only at a scrape, and then they are
those of all workers. KServe's own histograms are fed as well, so that dashboards made for KServe keep working.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sabia.contract.durations import EDGES, LABELS
from sabia.contract.metrics import (
    DEADLINE_CLASS,
    DECISION_SECONDS,
    MODEL_INFO,
    PREDICTIONS,
    REQUEST_SECONDS,
    REQUESTS,
    STATUS_CLASSES,
    UNSUPPORTED_CLASS,
    bin_labels,
)
from sabia.contract.names import ROUTES, SPLIT
from sabia.serving.telemetry.inputs import InputCounts
from sabia.serving.telemetry.shared import Shared
from sabia.serving.telemetry.sink import Described

Array = NDArray[np.float64]

# Why a connection is refused or closed, by the names of the errors.
REFUSALS = (
    "BodyTooLarge",
    "HeadTooLarge",
    "IdleConnection",
    "MalformedRequest",
    "Overloaded",
    "SlowRequest",
    "TooManyConnections",
    "UnknownExpectation",
    "UnknownTransferCoding",
)
DIED, STUCK, LEAKED = "died", "stuck", "leaked"
RESTARTS = (DIED, STUCK, LEAKED)
# What becomes of a record of the inference log: it is safe in the store or on disk, or it was dropped, because memory
# was full, because neither store nor disk took it, or because the worker that held it died.
KEPT, NO_MEMORY, NO_STORE = "kept", "memory", "store"
LOG_FATES = (KEPT, NO_MEMORY, NO_STORE, DIED)

# Counts of rows by input.
_BY_INPUT = {
    "sabia_inputs_out_of_range": "Inputs outside the training range.",
    "sabia_inputs_unknown": "Inputs of a category that the training rows do not have.",
    "sabia_inputs_missing": "Inputs without a value.",
}

# KServe's names, and the buckets that its client library gives a histogram that asks for none.
STAGES = ("preprocess", "predict", "postprocess", "explain")
STAGE_EDGES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_STAGE_LABELS = (*(str(edge) for edge in STAGE_EDGES), "+Inf")

_CLASSES = (*STATUS_CLASSES, DEADLINE_CLASS, UNSUPPORTED_CLASS)
# Classes that are exported even while nothing is counted in them.
_ALWAYS = ("2xx", "4xx", "5xx")

_EDGES, _STAGE_EDGES = np.array(EDGES), np.array(STAGE_EDGES)
_BUCKETS = len(EDGES) + 1
_STAGE_BUCKETS = len(STAGE_EDGES) + 1


class _Layout:
    """Where each count is among a slot's integers; the same for every worker of a version."""

    def __init__(self, bins: int, inputs: int) -> None:
        self.statuses, self.durations = 0, len(_CLASSES)
        self.decisions = self.durations + _BUCKETS
        self.predictions = self.decisions + _BUCKETS
        self.route = self.predictions + bins  # the length of one route's counts
        self.inputs = self.route * len(ROUTES)
        self.stages = self.inputs + inputs
        self.errors = self.stages + _STAGE_BUCKETS * len(STAGES)
        self.restarts = self.errors + len(REFUSALS)
        self.log = self.restarts + len(RESTARTS)
        self.connections = self.log + len(LOG_FATES)
        self.waiting = self.connections + 1
        self.log_waiting = self.waiting + 1
        self.heartbeats = self.log_waiting + 1
        self.integers = self.heartbeats + 1
        self.stage_sums = 2 * len(ROUTES)  # after two sums for each route
        self.floats = self.stage_sums + len(STAGES)
        self.bins = bins


class VersionMetrics(Collector):
    """The metrics of one version.

    Args:
        model: the version.
        registry: exports them.
        workers: number of processes that count; each calls `use_slot`, once, before it counts.
    """

    def __init__(self, model: Described, registry: CollectorRegistry | None = None, workers: int = 1) -> None:
        self._name, self._version = model.name, model.version
        self._digest = model.content_digest
        signature = model.signature
        self._bins = bin_labels(signature.bins)
        inputs = signature.inputs
        self._outside = InputCounts(
            model.names, [each.minimum is not None or each.maximum is not None for each in inputs]
        )
        self._unknown = InputCounts(model.names, [each.categories is not None for each in inputs])
        self._missing = InputCounts(model.names, [each.nullable for each in inputs])
        self._by_input = (self._outside, self._unknown, self._missing)
        self._workers = workers
        self._at = _Layout(len(self._bins), sum(each.size for each in self._by_input))
        self._bases = {route: at * self._at.route for at, route in enumerate(ROUTES)}
        # One slot more than workers, for their supervisor.
        self._shared = Shared(workers + 1, self._at.integers, self._at.floats)
        self.use_slot(0)
        if registry is not None:
            registry.register(self)

    def use_slot(self, worker: int) -> None:
        """Count in this worker's slot from now on; slot `workers` is the supervisor's."""
        self._ints = self._shared.integers(worker)
        self._floats = self._shared.floats(worker)
        self._array = np.frombuffer(self._ints, dtype=np.int64)
        for each, part in self._parts():
            each.use(self._array[part])

    # -- counting: on the event loop and nowhere else, since an addition is two steps ------------------------------

    def count_response(self, status: int, seconds: float, route: str = SPLIT) -> None:
        """Count one response, and its request's whole duration, from its head to its response."""
        base, ints = self._bases[route], self._ints
        ints[base + status // 100 - 2] += 1
        ints[base + self._at.durations + bisect_left(EDGES, seconds)] += 1
        self._floats[2 * ROUTES.index(route)] += seconds

    def count_class(self, name: str, route: str = SPLIT) -> None:
        """Count a request of a class that has no status of its own, and no duration."""
        self._ints[self._bases[route] + _CLASSES.index(name)] += 1

    def count_prediction_time(self, seconds: Array, route: str = SPLIT) -> None:
        """Count the time of some predictions, shape (requests,), without waiting: parsing, predicting, writing."""
        self._add(self._bases[route] + self._at.decisions, _histogram(_EDGES, seconds))
        self._floats[2 * ROUTES.index(route) + 1] += float(seconds.sum())

    def count_predictions(
        self, bin_counts: NDArray[np.int64], out_of_range: NDArray[np.int64], route: str = SPLIT
    ) -> None:
        """Count predictions by bin, shape (bins,), and inputs outside the training range, shape (inputs,)."""
        self._add(self._bases[route] + self._at.predictions, bin_counts)
        self._outside.add(out_of_range)

    def count_inputs(self, unknown: NDArray[np.int64], missing: NDArray[np.int64]) -> None:
        """Count inputs of an unknown category, and missing ones, both of shape (inputs,)."""
        if self._unknown:
            self._unknown.add(unknown)
        if self._missing:
            self._missing.add(missing)

    def count_stage(self, name: str, seconds: Array) -> None:
        """Feed KServe's histogram of one stage with the durations of some requests, shape (requests,)."""
        which = STAGES.index(name)
        self._add(self._at.stages + which * _STAGE_BUCKETS, _histogram(_STAGE_EDGES, seconds))
        self._floats[self._at.stage_sums + which] += float(seconds.sum())

    def count_refused_connection(self, reason: str) -> None:
        """Count a connection that was refused or closed."""
        self._ints[self._at.errors + REFUSALS.index(reason)] += 1

    def count_restart(self, reason: str) -> None:
        """Count a worker that was replaced."""
        self._ints[self._at.restarts + RESTARTS.index(reason)] += 1

    def set_connections(self, connections: int) -> None:
        """Set the number of open connections."""
        self._ints[self._at.connections] = connections

    def heartbeat(self, waiting: int) -> None:
        """Beat, and set the number of requests that wait for a thread or are predicted in one."""
        self._ints[self._at.waiting] = waiting
        self._ints[self._at.heartbeats] += 1

    def count_log_dropped(self, records: int) -> None:
        """Count records of the inference log that memory had no room for, or that were left when time was up."""
        self._ints[self._at.log + LOG_FATES.index(NO_MEMORY)] += records

    def set_log_waiting(self, records: int) -> None:
        """Set the number of records that wait in memory."""
        self._ints[self._at.log_waiting] = records

    def least_connections(self) -> int:
        """The smallest number of connections of any worker."""
        return min(self._shared.integers(worker)[self._at.connections] for worker in range(self._workers))

    def heartbeats(self, worker: int) -> int:
        """The number of a worker's heartbeats."""
        heartbeats: int = self._shared.integers(worker)[self._at.heartbeats]
        return heartbeats

    def reset_slot(self, worker: int) -> None:
        """Reset the gauges of a worker that has exited, and count the records that it held as lost."""
        ints = self._shared.integers(worker)
        ints[self._at.log + LOG_FATES.index(DIED)] += ints[self._at.log_waiting]
        ints[self._at.connections] = ints[self._at.waiting] = ints[self._at.log_waiting] = 0

    # -- counting: in the thread that writes the inference log and nowhere else ----------------------------------------

    def count_log_kept(self, records: int) -> None:
        """Count records that are safe."""
        self._ints[self._at.log + LOG_FATES.index(KEPT)] += records

    def count_log_unwritten(self, records: int) -> None:
        """Count records that neither store nor disk took."""
        self._ints[self._at.log + LOG_FATES.index(NO_STORE)] += records

    def _parts(self) -> Iterator[tuple[InputCounts, slice]]:
        """The counts by input, and where each is in a slot."""
        at = self._at.inputs
        for each in self._by_input:
            yield each, slice(at, at + each.size)
            at += each.size

    def _add(self, at: int, counts: NDArray[np.int64]) -> None:
        self._array[at : at + len(counts)] += counts

    # -- exporting ---------------------------------------------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """The metric families of all workers, as of now."""
        counts, sums = self._shared.integer_sums().tolist(), self._shared.float_sums().tolist()
        yield from self._routed(counts, sums)
        yield from self._served(counts)
        yield from self._kserve(counts, sums)

    def _routed(self, counts: list[int], sums: list[float]) -> Iterator[Metric]:
        own, at = (self._name, self._version), self._at
        labels = ["model", "version", "route"]
        requests = CounterMetricFamily(REQUESTS, "Answered calls.", labels=[*labels, "status_class"])
        durations = HistogramMetricFamily(REQUEST_SECONDS, "Whole duration of a call.", labels=labels)
        decisions = HistogramMetricFamily(DECISION_SECONDS, "What the version took.", labels=labels)
        predictions = CounterMetricFamily(PREDICTIONS, "Predictions.", labels=[*labels, "bin"])
        for which, (name, base) in enumerate(self._bases.items()):
            statuses = counts[base : base + len(_CLASSES)]
            # Other routes only once they were used: four hundred empty buckets say nothing.
            if name != SPLIT and not sum(statuses):
                continue
            for status_class, count in zip(_CLASSES, statuses, strict=True):
                if count or status_class in _ALWAYS:
                    requests.add_metric([*own, name, status_class], count)
            for family, start, total in (
                (durations, at.durations, sums[2 * which]),
                (decisions, at.decisions, sums[2 * which + 1]),
            ):
                buckets = counts[base + start : base + start + _BUCKETS]
                family.add_metric([*own, name], cumulative(LABELS, buckets), total)
            served = counts[base + at.predictions : base + at.predictions + at.bins]
            for label, count in zip(self._bins, served, strict=True):
                predictions.add_metric([*own, name, label], count)
        yield from (requests, durations, decisions, predictions)

    def _served(self, counts: list[int]) -> Iterator[Metric]:
        own, at = (self._name, self._version), self._at
        labels = ["model", "version"]
        slots = [np.frombuffer(self._shared.integers(slot), dtype=np.int64) for slot in range(self._shared.slots)]
        for (name, text), (each, part) in zip(_BY_INPUT.items(), self._parts(), strict=True):
            if each:
                family = CounterMetricFamily(name, text, labels=[*labels, "feature"])
                for feature, count in each.sums(slot[part] for slot in slots):
                    family.add_metric([*own, feature], count)
                yield family
        kept = CounterMetricFamily("sabia_log_kept", "Records of the inference log that are safe.", labels=labels)
        kept.add_metric(own, counts[at.log])
        yield kept
        dropped = CounterMetricFamily(
            "sabia_log_dropped", "Records of the inference log that were dropped.", labels=[*labels, "reason"]
        )
        for reason, count in zip(LOG_FATES[1:], counts[at.log + 1 : at.connections], strict=True):
            dropped.add_metric([*own, reason], count)
        yield dropped
        refused = CounterMetricFamily(
            "sabia_connections_refused", "Connections refused, or closed for a bound.", labels=[*labels, "reason"]
        )
        for reason, count in zip(REFUSALS, counts[at.errors : at.restarts], strict=True):
            refused.add_metric([*own, reason], count)
        yield refused
        restarts = CounterMetricFamily("sabia_worker_restarts", "Workers replaced.", labels=[*labels, "reason"])
        for reason, count in zip(RESTARTS, counts[at.restarts : at.log], strict=True):
            restarts.add_metric([*own, reason], count)
        yield restarts
        for name, text, value in (
            ("sabia_connections", "Open connections.", counts[at.connections]),
            ("sabia_waiting_calls", "Calls that wait for a thread or are decided in one.", counts[at.waiting]),
            ("sabia_log_waiting", "Records of the inference log that wait in memory.", counts[at.log_waiting]),
            ("sabia_workers", "Processes that serve.", self._workers),
        ):
            gauge = GaugeMetricFamily(name, text, labels=labels)
            gauge.add_metric(own, value)
            yield gauge
        info = GaugeMetricFamily(MODEL_INFO, "What is served.", labels=[*labels, "digest"])
        info.add_metric([*own, self._digest], 1)
        yield info

    def _kserve(self, counts: list[int], sums: list[float]) -> Iterator[Metric]:
        for which, stage in enumerate(STAGES):
            start = self._at.stages + which * _STAGE_BUCKETS
            family = HistogramMetricFamily(
                f"request_{stage}_seconds", f"{stage} request latency", labels=["model_name"]
            )
            buckets = cumulative(_STAGE_LABELS, counts[start : start + _STAGE_BUCKETS])
            family.add_metric([self._name], buckets, sums[self._at.stage_sums + which])
            yield family


def _histogram(edges: Array, values: Array) -> NDArray[np.int64]:
    """How many values fall into each bucket; an upper edge belongs to its bucket, as in Prometheus."""
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)


def cumulative(labels: Sequence[str], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Cumulative counts by bucket, as Prometheus stores them: values up to each upper edge."""
    return [(label, float(count)) for label, count in zip(labels, accumulate(counts), strict=True)]
