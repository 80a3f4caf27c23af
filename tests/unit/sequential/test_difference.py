from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.stats import binom

from sabia.sequential import Batch, DifferenceTest, InvalidSetting

SIZES = [(1, 1), (5, 2), (2, 5), (6, 6), (0, 3), (3, 0)]
RATES = (0.0, 0.01, 0.2, 0.5, 0.85)


def worst_mean(test: DifferenceTest, n0: int, n1: int, guess: float) -> float:
    """The largest mean of any bet's e-value over all pairs of rates on the edge of the null, by enumeration."""
    tables = list(product(range(n0 + 1), range(n1 + 1)))
    values = np.array([np.exp(test.log_e(Batch.single(n0, n1, x0, x1), guess)) for x0, x1 in tables])
    means = []
    for stable in RATES:
        canary = stable + test.margin
        if canary > 1:
            continue
        chances = np.array([binom.pmf(x0, n0, stable) * binom.pmf(x1, n1, canary) for x0, x1 in tables])
        means.append(float((chances @ values).max()))
    return max(means)


@pytest.mark.parametrize("test", [DifferenceTest(0.01), DifferenceTest(0.2), DifferenceTest(0.1, beyond=True)], ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_whatever_the_stables_rate_and_the_guess_the_mean_is_at_most_one_at_the_margin(
    test: DifferenceTest, sizes: tuple[int, int]
) -> None:
    for guess in (0.0, 0.05, 0.3, 0.9, 1.0):
        assert worst_mean(test, *sizes, guess) <= 1 + 1e-12


def test_a_canary_at_the_margin_is_found_safe_at_most_beta_often_while_everything_drifts() -> None:
    """2,000 rollouts whose weight rises while the rate of both triples and falls: pooled counts would be fooled."""
    rng, runs, beta, margin = np.random.default_rng(7), 2000, 0.05, 0.01
    test = DifferenceTest(margin)
    wealth, found = test.start(runs), np.zeros(runs, dtype=bool)
    seen, failed = np.full(runs, 100.0), np.full(runs, 1.0)
    for look in range(100):
        rate = 0.05 if look < 30 else 0.005
        n1 = 10 if look < 30 else 500
        n0 = 1000 - n1
        x0, x1 = rng.binomial(n0, rate, runs), rng.binomial(n1, rate + margin, runs)
        batch = Batch(np.full(runs, n0), np.full(runs, n1), x0, x1)
        wealth = test.update(wealth, batch, failed / seen)
        seen, failed = seen + n0, failed + x0
        found |= wealth.log_e >= -math.log(beta)
    assert found.mean() <= beta + 3 * math.sqrt(beta * (1 - beta) / runs)


@pytest.mark.parametrize(("rate", "looks"), [(0.001, 15), (0.008, 60)])
def test_a_canary_as_good_as_the_stable_is_found_safe(rate: float, looks: int) -> None:
    rng, test = np.random.default_rng(8), DifferenceTest(0.01)
    wealth = test.start(500)
    for _ in range(looks):
        x0, x1 = rng.binomial(75, rate, 500), rng.binomial(75, rate, 500)
        wealth = test.update(wealth, Batch(np.full(500, 75), np.full(500, 75), x0, x1), rate)
    assert np.median(wealth.log_e) >= math.log(20)


def test_what_is_beyond_the_margin_is_found() -> None:
    test, rng = DifferenceTest(0.1, beyond=True), np.random.default_rng(9)
    wealth = test.start(200)
    for _ in range(20):
        counts = rng.binomial(285, 0.1, 200), rng.binomial(15, 0.4, 200)
        wealth = test.update(wealth, Batch(np.full(200, 285), np.full(200, 15), *counts), 0.1)
    assert np.median(wealth.log_e) >= math.log(100)


def test_the_bet_that_no_request_ever_fails_is_lost_with_the_first_that_do() -> None:
    test = DifferenceTest(0.2)
    wealth = test.update(test.start(), Batch.single(10, 10, 0, 10), 0.01)
    for _ in range(50):
        wealth = test.update(wealth, Batch.single(10, 10, 0, 0), 0.01)
    assert wealth.bets[0] < -100
    assert np.isfinite(wealth.log_e)


@pytest.mark.parametrize("margin", [-0.1, 0.0, 1.0])
def test_margins_out_of_range_are_refused(margin: float) -> None:
    with pytest.raises(InvalidSetting):
        DifferenceTest(margin)
