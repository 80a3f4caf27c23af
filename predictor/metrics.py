"""What the predictor tells Prometheus of its version. Both arms of a canary export the same names.

The counts are plain numbers that the event loop alone changes; they become metric families only when somebody looks.
KServe's own histograms are fed as well, so that dashboards made for KServe keep working.
"""

from __future__ import annotations

import math
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

from predictor.decision import Decision

SHORTEST, LONGEST, RATIO = 1e-5, 60.0, 1.08


def log_edges(shortest: float, longest: float, ratio: float) -> tuple[float, ...]:
    """Upper bucket edges in seconds, each at most `ratio` times the one before, from `shortest` to `longest`."""
    steps = math.ceil(math.log(longest / shortest) / math.log(ratio))
    exact = (longest / shortest) ** (1 / steps)
    return tuple(float(f"{shortest * exact**step:.6g}") for step in range(steps + 1))


EDGES = log_edges(SHORTEST, LONGEST, RATIO)
_LABELS = (*(f"{edge:.6g}" for edge in EDGES), "+Inf")


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
        return [(label, float(count)) for label, count in zip(_LABELS, accumulate(self.counts), strict=True)]


class VersionMetrics(Collector):
    """The metrics of one version."""

    def __init__(self, decision: Decision, registry: CollectorRegistry | None = None) -> None:
        self._name, self._version = decision.name, decision.version
        self._digest = decision.manifest.digest
        self._features = decision.names
        self._statuses: Counter[str] = Counter({"2xx": 0, "4xx": 0, "5xx": 0})
        self._duration = LogHistogram()
        self._decision = LogHistogram()
        self._predictions: NDArray[np.int64] = np.zeros(len(decision.bins) + 1, dtype=np.int64)
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

    def answered(self, status: int, seconds: float) -> None:
        """Count one answered request and its whole duration, from its first byte to its answer."""
        self._statuses[f"{status // 100}xx"] += 1
        self._duration.observe(seconds)

    def decided(self, seconds: float) -> None:
        """Count what the version itself took: reading the input, deciding, writing the answer; no waiting."""
        self._decision.observe(seconds)

    def predicted(self, bin_counts: NDArray[np.int64], out_of_range: NDArray[np.int64]) -> None:
        """Count predictions by bin, shape (bins,), and inputs outside the training range, shape (features,)."""
        self._predictions += bin_counts
        self._outside += out_of_range

    def stage(self, name: str, seconds: float) -> None:
        """Feed KServe's histogram of one stage."""
        self._kserve[name].observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """The metric families, made now."""
        own = (self._name, self._version)
        requests = CounterMetricFamily("sabia_requests", "Answered calls.", labels=["model", "version", "status_class"])
        for status_class, count in sorted(self._statuses.items()):
            requests.add_metric([*own, status_class], count)
        yield requests
        yield self._histogram("sabia_request_duration_seconds", "Whole duration of a call.", self._duration)
        yield self._histogram("sabia_decision_duration_seconds", "What the version itself took.", self._decision)
        predictions = CounterMetricFamily("sabia_predictions", "Predictions.", labels=["model", "version", "bin"])
        for at, count in enumerate(self._predictions.tolist()):
            predictions.add_metric([*own, str(at)], count)
        yield predictions
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

    def _histogram(self, name: str, text: str, histogram: LogHistogram) -> HistogramMetricFamily:
        family = HistogramMetricFamily(name, text, labels=["model", "version"])
        family.add_metric([self._name, self._version], histogram.buckets(), histogram.total)
        return family
