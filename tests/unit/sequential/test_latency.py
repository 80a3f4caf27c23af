from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.sequential import Memory, exceedance, shifted

EDGES = (0.001, 0.00105, 0.0011025, 0.002, 0.004, 0.1)


def test_a_threshold_is_the_edge_that_the_quantile_lies_at() -> None:
    memory = Memory.start(np.array([50, 0, 40, 0, 9, 0, 1]))
    assert [int(memory.threshold(q)) for q in (0.5, 0.9, 0.99, 1.0)] == [0, 2, 4, 6]


def test_without_memory_there_is_no_threshold() -> None:
    assert int(Memory.start(np.zeros(7)).threshold(0.5)) == -1


def test_memory_fades_and_its_start_counts_for_five_hundred_at_most() -> None:
    memory = Memory.start(np.array([1_000_000, 0, 0]))
    assert memory.weights.sum() == 500
    for _ in range(12):
        memory = memory.update(np.array([0, 0, 300]))
    assert int(memory.threshold(0.5)) == 2
    for _ in range(200):
        memory = memory.update(np.array([0, 0, 300]))
    assert memory.weights[0] == 0


@pytest.mark.parametrize(
    ("threshold", "tolerance", "slack", "expected"),
    [
        (0, 1.0, 0.0, 0),
        (0, 1.05, 0.0, 1),
        (0, 1.06, 0.0, 2),
        (0, 1.0, 0.001, 3),
        (0, 1.0, 0.0012, 4),
        (5, 1.05, 0.0, 6),
    ],
)
def test_the_canarys_threshold_is_the_first_edge_past_tolerance_and_slack(
    threshold: int, tolerance: float, slack: float, expected: int
) -> None:
    assert shifted(threshold, EDGES, tolerance=tolerance, slack=slack) == expected


@given(st.lists(st.integers(0, 50), min_size=7, max_size=7), st.integers(0, 6))
def test_what_is_over_an_edge_lies_in_the_buckets_past_it(counts: list[int], over: int) -> None:
    batch = exceedance(np.array(counts), np.array(counts), over, over)
    assert (int(batch.n0), int(batch.x1)) == (sum(counts), sum(counts[over + 1 :]))
