from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sabia.sequential import Batch, Categories, InvalidCounts, OddsTest, total_variation
from sabia.sequential.categories import log_e_value, over_represented
from sabia.sequential.hypergeometric import log_expectation


def brute_force(both: list[int], n1: int, log_ratio: list[float]) -> float:
    """E[prod r^K] over every way to put n1 of the requests into the canary."""
    total = 0.0
    for counts in product(*(range(m + 1) for m in both)):
        if sum(counts) == n1:
            ways = math.prod(math.comb(m, k) for m, k in zip(both, counts, strict=True))
            total += ways * math.exp(sum(k * r for k, r in zip(counts, log_ratio, strict=True)))
    return math.log(total) - math.log(math.comb(sum(both), n1))


@settings(max_examples=80)
@given(
    both=st.lists(st.integers(0, 6), min_size=2, max_size=5).filter(lambda counts: sum(counts) > 0),
    ratios=st.lists(st.floats(-2, 2), min_size=5, max_size=5),
    data=st.data(),
)
def test_the_expectation_is_that_of_brute_force(both: list[int], ratios: list[float], data: st.DataObject) -> None:
    n1 = data.draw(st.integers(0, sum(both)))
    log_ratio = ratios[: len(both)]
    ours = log_expectation(np.array(both), np.array(n1), np.array(log_ratio))
    assert float(ours) == pytest.approx(brute_force(both, n1, log_ratio), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("n1", [1, 15, 200, 1800])
def test_large_batches_agree_with_the_sum_over_two_categories(n1: int) -> None:
    """Two categories are two outcomes, which are summed exactly there."""
    n0, m = 2000 - n1, 250
    k = round(m * n1 / 2000)
    log_r = math.log(3.0)
    two = OddsTest(ratios=(3.0,)).log_e(Batch.single(n0, n1, m - k, k))[0]
    stable, canary = np.array([m - k, n0 - (m - k)]), np.array([k, n1 - k])
    assert float(log_e_value(stable, canary, np.array([log_r, 0.0]))) == pytest.approx(two, abs=1e-9)


def test_over_every_table_the_mean_is_one_whatever_the_bet() -> None:
    log_ratio = np.array([0.7, -0.4, 0.1])
    for n0, n1 in ((3, 4), (5, 2), (6, 6), (0, 3)):
        for both in product(range(n0 + n1 + 1), repeat=3):
            if sum(both) != n0 + n1:
                continue
            mean = 0.0
            for counts in product(*(range(m + 1) for m in both)):
                if sum(counts) == n1:
                    ways = math.prod(math.comb(m, k) for m, k in zip(both, counts, strict=True))
                    canary = np.array(counts)
                    mean += ways * math.exp(float(log_e_value(np.array(both) - canary, canary, log_ratio)))
            assert mean / math.comb(n0 + n1, n1) == pytest.approx(1, abs=1e-9)


@pytest.mark.slow
def test_looking_at_every_batch_ever_rejects_a_true_null_at_most_alpha_often() -> None:
    rng, runs, alpha = np.random.default_rng(2), 1500, 0.05
    evidence, crossed = Categories.start(6, runs), np.zeros(runs, dtype=bool)
    for look in range(60):
        shares = np.linspace(1, 2 + look / 10, 6)
        shares /= shares.sum()
        evidence = evidence.update(rng.multinomial(280, shares, runs), rng.multinomial(20, shares, runs))
        crossed |= evidence.log_e >= -math.log(alpha)
    assert crossed.mean() <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)


def test_a_constant_answer_is_found_in_the_second_batch_and_its_category_is_named() -> None:
    rng, evidence = np.random.default_rng(1), Categories.start(10)
    for _ in range(2):
        canary = np.zeros(10, dtype=np.int64)
        canary[3] = 15
        evidence = evidence.update(rng.multinomial(285, [0.1] * 10), canary)
    assert float(evidence.log_e) >= math.log(100)
    assert np.flatnonzero(over_represented(evidence)).tolist() == [3]


def test_a_batch_without_one_of_the_arms_says_nothing() -> None:
    evidence = Categories.start(3)
    for stable, canary in (([5, 1, 0], [0, 0, 0]), ([0, 0, 0], [4, 0, 2])):
        evidence = evidence.update(np.array(stable), np.array(canary))
    assert float(evidence.log_e) == pytest.approx(0, abs=1e-12)
    assert not over_represented(evidence).any()


def test_total_variation_is_half_the_distance_of_the_shares() -> None:
    assert float(total_variation(np.array([1, 1]), np.array([2, 0]))) == 0.5
    assert float(total_variation(np.array([10, 30]), np.array([1, 3]))) == 0.0


def test_negative_counts_are_refused() -> None:
    with pytest.raises(InvalidCounts):
        log_e_value(np.array([-1, 2]), np.array([1, 2]), np.zeros(2))
