from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from sabia.contract.names import MIRROR, PIN, SPLIT
from sabia.registry.verification import Artifact
from sabia.serving.inference.model import Model
from sabia.serving.telemetry.metrics import STUCK, VersionMetrics
from sabia.serving.telemetry.shared import Shared


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 2**40)), max_size=30))
def test_the_sums_are_those_of_all_parts(additions: list[tuple[int, int, int]]) -> None:
    shared = Shared(slots=3, integers=5, floats=1)
    for slot, at, amount in additions:
        shared.integers(slot)[at] += amount
        shared.floats(slot)[0] += 0.5
    for at in range(5):
        assert shared.integer_sums()[at] == sum(amount for _, where, amount in additions if where == at)
    assert shared.float_sums()[0] == 0.5 * len(additions)


FORKED = """
import os
from sabia.serving.telemetry.shared import Shared
shared = Shared(slots=2, integers=1, floats=1)
child = os.fork()
if child == 0:
    shared.integers(1)[0] += 7
    shared.floats(1)[0] += 0.25
    os._exit(0)
os.waitpid(child, 0)
shared.integers(0)[0] += 1
print(shared.integer_sums()[0], shared.float_sums()[0])
"""


def test_what_a_forked_process_counts_is_seen_by_its_parent() -> None:
    """In a process of its own: this one has threads, and may not fork."""
    done = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["8", "0.25"]


def test_workers_count_together_and_a_successor_goes_on_where_the_last_one_ended(logistic: Artifact) -> None:
    registry = CollectorRegistry()
    metrics = VersionMetrics(Model(logistic), registry, workers=2)
    for worker, calls in ((0, 3), (1, 4), (0, 2)):
        metrics.use_slot(worker)
        metrics.set_connections(5)
        for _ in range(calls):
            metrics.count_response(200, 0.001, PIN)
    metrics.use_slot(2)
    metrics.count_restart(STUCK)
    metrics.reset_slot(0)
    labels = {"model": "breast-cancer", "version": "2.0"}
    value = registry.get_sample_value
    assert value("sabia_requests_total", labels | {"route": PIN, "status_class": "2xx"}) == 9
    assert value("sabia_requests_total", labels | {"route": SPLIT, "status_class": "2xx"}) == 0
    assert value("sabia_requests_total", labels | {"route": MIRROR, "status_class": "2xx"}) is None
    assert value("sabia_connections", labels) == 5
    assert value("sabia_worker_restarts_total", labels | {"reason": STUCK}) == 1
    assert metrics.least_connections() == 0
