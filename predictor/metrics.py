"""What the predictor tells Prometheus of its version. Both arms of a canary export the same names.

The counts are plain numbers that the event loop alone changes; they become metric families only when somebody looks.
KServe's own histograms are fed as well, so that dashboards made for KServe keep working.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

import numpy as np
from kserve.metrics import EXPLAIN_HIST_TIME, POST_HIST_TIME, PRE_HIST_TIME, PREDICT_HIST_TIME, get_labels
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from predictor.buckets import EDGES, LABELS
from predictor.decision import Decision


class LogHistogram:
    """Durations in seconds, counted in buckets of nearly equal ratio."""

    def __init__(self) -> None:
        self.counts = [0] * (len(EDGES) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; the bucket's upper edge is inclusive, as Prometheus's `le` is."""
        self.counts[bisect_left(EDGES, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper edge."""
        return [(label, float(count)) for label, count in zip(LABELS, accumulate(self.counts), strict=True)]


# How a request came here: by the weights; by a header that names the version; as a copy whose answer nobody sees. Only
# the first are a fair sample, so whoever compares versions leaves the others out.
SPLIT, PIN, MIRROR = "split", "pin", "mirror"
ROUTES = (SPLIT, PIN, MIRROR)


class Counted:
    """What came by one route: calls by status class, durations, predictions by bin."""

    def __init__(self, bins: int) -> None:
        self.statuses: Counter[str] = Counter({"2xx": 0, "4xx": 0, "5xx": 0})
        self.duration = LogHistogram()
        self.decision = LogHistogram()
        self.predictions: NDArray[np.int64] = np.zeros(bins, dtype=np.int64)


class VersionMetrics(Collector):
    """The metrics of one version."""

    def __init__(self, decision: Decision, registry: CollectorRegistry | None = None) -> None:
        self._name, self._version = decision.name, decision.version
        self._digest = decision.manifest.digest
        self._features = decision.names
        self._routes = {route: Counted(len(decision.bins) + 1) for route in ROUTES}
        self._outside: NDArray[np.int64] = np.zeros(decision.width, dtype=np.int64)
        labels = get_labels(decision.name)
        self._kserve = {
            "preprocess": PRE_HIST_TIME.labels(**labels),
            "predict": PREDICT_HIST_TIME.labels(**labels),
            "explain": EXPLAIN_HIST_TIME.labels(**labels),
            "postprocess": POST_HIST_TIME.labels(**labels),
        }
        if registry is not None:
            registry.register(self)

    def answered(self, status: int, seconds: float, route: str = SPLIT) -> None:
        """Count one answered request and its whole duration, from its first byte to its answer."""
        counted = self._routes[route]
        counted.statuses[f"{status // 100}xx"] += 1
        counted.duration.observe(seconds)

    def decided(self, seconds: float, route: str = SPLIT) -> None:
        """Count what the version itself took: reading the input, deciding, writing the answer; no waiting."""
        self._routes[route].decision.observe(seconds)

    def predicted(self, bin_counts: NDArray[np.int64], out_of_range: NDArray[np.int64], route: str = SPLIT) -> None:
        """Count predictions by bin, shape (bins,), and inputs outside the training range, shape (features,)."""
        self._routes[route].predictions += bin_counts
        self._outside += out_of_range

    def stage(self, name: str, seconds: float) -> None:
        """Feed KServe's histogram of one stage."""
        self._kserve[name].observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """The metric families, made now."""
        own = (self._name, self._version)
        # Of the other routes only what was ever used: four hundred empty buckets tell nobody anything.
        routes = {
            name: counted for name, counted in self._routes.items() if name == SPLIT or counted.statuses.total() > 0
        }
        labels = ["model", "version", "route"]
        requests = CounterMetricFamily("sabia_requests", "Answered calls.", labels=[*labels, "status_class"])
        for name, counted in routes.items():
            for status_class, count in sorted(counted.statuses.items()):
                requests.add_metric([*own, name, status_class], count)
        yield requests
        durations = HistogramMetricFamily("sabia_request_duration_seconds", "Whole duration of a call.", labels=labels)
        decisions = HistogramMetricFamily("sabia_decision_duration_seconds", "What the version took.", labels=labels)
        predictions = CounterMetricFamily("sabia_predictions", "Predictions.", labels=[*labels, "bin"])
        for name, counted in routes.items():
            durations.add_metric([*own, name], counted.duration.buckets(), counted.duration.total)
            decisions.add_metric([*own, name], counted.decision.buckets(), counted.decision.total)
            for at, count in enumerate(counted.predictions.tolist()):
                predictions.add_metric([*own, name, str(at)], count)
        yield from (durations, decisions, predictions)
        outside = CounterMetricFamily(
            "sabia_inputs_out_of_range", "Inputs outside the training range.", labels=["model", "version", "feature"]
        )
        for feature, count in zip(self._features, self._outside.tolist(), strict=True):
            outside.add_metric([*own, feature], count)
        yield outside
        dropped = CounterMetricFamily(
            "sabia_log_dropped",
            "Inference log records dropped; none while no log is kept.",
            labels=["model", "version"],
        )
        dropped.add_metric(own, 0)
        yield dropped
        info = GaugeMetricFamily("sabia_model_info", "What is served.", labels=["model", "version", "digest"])
        info.add_metric([*own, self._digest], 1)
        yield info
