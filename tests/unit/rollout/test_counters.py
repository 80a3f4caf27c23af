from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sabia.rollout.counters import BUCKETS, Counters, Gateway, Scrape, difference, total

counts = st.integers(0, 1000)


def scrape(gateway: dict[str, Gateway] | None = None, **replicas: Counters) -> Scrape:
    return Scrape({"2.0": replicas}, gateway or {})


@given(counts, counts, counts, counts)
def test_a_difference_is_what_every_replica_has_counted_since(a: int, b: int, more_a: int, more_b: int) -> None:
    before = scrape(one=Counters(a, 0, {3: a}), two=Counters(b, 0, {4: b}))
    now = scrape(one=Counters(a + more_a, 0, {3: a + more_a}), two=Counters(b + more_b, 0, {4: b + more_b}))
    arm = difference(before, now, "2.0")
    assert (arm.n, arm.decision[3], arm.decision[4]) == (more_a + more_b, more_a, more_b)


def test_a_replica_that_started_again_or_is_new_or_gone_says_nothing() -> None:
    before = scrape(same=Counters(10, 1), again=Counters(50, 5), gone=Counters(7, 7))
    now = scrape(same=Counters(15, 2), again=Counters(3, 3), new=Counters(9, 9))
    arm = difference(before, now, "2.0")
    assert (arm.n, arm.errors) == (5, 1)


def test_the_gateways_counts_go_before_the_servers_as_they_know_what_never_arrived() -> None:
    before = scrape({"2.0": Gateway(100, 1)}, one=Counters(100, 1))
    now = scrape({"2.0": Gateway(120, 11)}, one=Counters(110, 1))
    arm = difference(before, now, "2.0")
    assert (arm.n, arm.errors) == (20, 10)


def test_a_gateway_that_started_again_leaves_it_to_the_servers() -> None:
    before = scrape({"2.0": Gateway(100, 1)}, one=Counters(100, 1))
    now = scrape({"2.0": Gateway(3, 0)}, one=Counters(110, 2))
    arm = difference(before, now, "2.0")
    assert (arm.n, arm.errors) == (10, 1)


def test_a_failure_that_is_counted_before_its_request_waits_for_the_next_batch() -> None:
    arm = difference(scrape({"2.0": Gateway(10, 0)}), scrape({"2.0": Gateway(11, 2)}), "2.0")
    assert (arm.n, arm.errors) == (1, 1)


def test_the_times_of_cold_replicas_are_left_out_and_their_failures_are_not() -> None:
    before, now = scrape(one=Counters()), scrape(one=Counters(10, 10, {5: 10}))
    arm = difference(before, now, "2.0", cold=frozenset({"one"}))
    assert (arm.n, arm.errors, arm.decision.sum()) == (10, 10, 0)


def test_labels_are_of_batches_that_are_closed() -> None:
    now = Scrape({"2.0": {}}, labels={"a": {"2.0": (10, 1), "1.2": (90, 5)}, "b": {"1.2": (5, 0)}})
    assert difference(Scrape({}), now, "2.0").labels == {"a": (10, 1)}


def test_a_total_is_over_all_replicas() -> None:
    found = total(
        scrape(one=Counters(decision={1: 2}), two=Counters(decision={1: 3, BUCKETS - 1: 1})), "2.0", "decision"
    )
    assert np.flatnonzero(found).tolist() == [1, BUCKETS - 1]
    assert found[1] == 5
