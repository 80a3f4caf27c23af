from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp
from scipy.stats import hypergeom, nchypergeom_fisher

from sabia.sequential import Batch, InvalidCounts, InvalidSetting, OddsTest
from sabia.sequential.errors import NotComputed
from sabia.sequential.hypergeometric import log_normaliser

HARM = OddsTest()
SAFE = OddsTest(null=2.0, safe=True)


def tables(largest: int) -> list[tuple[int, int, int]]:
    """Every (n0, n1, m) of at most this many requests."""
    return [
        (n0, n1, m)
        for n0, n1 in product(range(largest + 1), repeat=2)
        if n0 + n1 <= largest
        for m in range(n0 + n1 + 1)
    ]


def expectation(test: OddsTest, n0: int, n1: int, m: int, psi: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The mean of each bet's e-value over every table with these margins, when the odds ratio is psi."""
    ks = range(max(0, m - n0), min(m, n1) + 1)
    chances = np.array([math.comb(n1, k) * math.comb(n0, m - k) * psi**k for k in ks])
    values = np.array([np.exp(test.log_e(Batch.single(n0, n1, m - k, k))) for k in ks])
    mean: np.ndarray[tuple[int], np.dtype[np.float64]] = (chances / chances.sum()) @ values
    return mean


@pytest.mark.parametrize("test", [HARM, OddsTest(null=1.5), SAFE], ids=["harm", "harm over 1.5", "safe under 2"])
def test_over_every_table_of_twelve_requests_the_mean_is_one_at_the_null(test: OddsTest) -> None:
    for n0, n1, m in tables(12):
        assert expectation(test, n0, n1, m, test.null) == pytest.approx(1, abs=1e-11)


@pytest.mark.parametrize(("test", "inside"), [(HARM, 0.4), (OddsTest(null=1.5), 1.2), (SAFE, 3.0)])
def test_over_every_table_of_twelve_requests_the_mean_is_at_most_one_inside_the_null(
    test: OddsTest, inside: float
) -> None:
    for n0, n1, m in tables(12):
        assert np.all(expectation(test, n0, n1, m, inside) <= 1 + 1e-12)


@pytest.mark.parametrize("null", [1.0, 1.5])
@settings(max_examples=60)
@given(data=st.data())
def test_an_e_value_is_the_likelihood_ratio_of_fishers_noncentral_distribution(
    null: float, data: st.DataObject
) -> None:
    """As SciPy computes it, to 1e-9."""
    n0, n1 = data.draw(st.integers(1, 400)), data.draw(st.integers(1, 200))
    m = data.draw(st.integers(0, min(n0 + n1, 150)))
    k = data.draw(st.integers(max(0, m - n0), min(m, n1)))
    ratios = (1.25, 2.0, 10.0)
    ours = OddsTest(null, ratios).log_e(Batch.single(n0, n1, m - k, k))
    theirs = [
        nchypergeom_fisher.logpmf(k, n0 + n1, n1, m, null * r) - nchypergeom_fisher.logpmf(k, n0 + n1, n1, m, null)
        for r in ratios
    ]
    assert ours == pytest.approx(np.array(theirs), rel=1e-9, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_large_batches_are_right_where_scipy_gives_up(data: st.DataObject) -> None:
    """Against whole numbers and fractions, far out in the tails too."""
    n0, n1 = data.draw(st.integers(300, 900)), data.draw(st.integers(300, 900))
    m = data.draw(st.integers(300, min(n0 + n1, 800)))
    low, high = max(0, m - n0), min(m, n1)
    k, r = data.draw(st.integers(low, high)), data.draw(st.sampled_from([1.25, 4.0, 100.0]))
    whole = Fraction(r)
    z = sum(math.comb(n1, j) * math.comb(n0, m - j) * whole**j for j in range(low, high + 1))
    exact = whole**k * math.comb(n0 + n1, m) / z
    (ours,) = OddsTest(ratios=(r,)).log_e(Batch.single(n0, n1, m - k, k))
    assert ours == pytest.approx(math.log(exact.numerator) - math.log(exact.denominator), rel=1e-11, abs=1e-9)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_batches_of_any_size_give_what_the_sum_over_the_tables_gives(data: st.DataObject) -> None:
    """From ten requests to a thousand million, rare or common, equal arms or not. The sum is over the tables within 40
    widths of the likeliest one; its factorials have an absolute error of 1e-16 times their logarithm.
    """
    n0, n1 = (10 ** data.draw(st.floats(1, 9)) for _ in range(2))
    sizes = int(n0), int(n1)
    m = (
        data.draw(st.integers(1, sum(sizes) - 1))
        if data.draw(st.booleans())
        else int(1 + (sum(sizes) - 1) * 10 ** data.draw(st.floats(-9, 0)))
    )
    m = min(m, sum(sizes) - 1)
    k = data.draw(st.integers(max(0, m - sizes[0]), min(m, sizes[1])))
    ratio = data.draw(st.sampled_from([1.25, 1.5, 4.0, 100.0]))
    (ours,) = OddsTest(ratios=(ratio,)).log_e(Batch.single(*sizes, m - k, k))
    slack = 1e-14 * sum(sizes) * math.log(sum(sizes))
    assert ours == pytest.approx(k * math.log(ratio) - log_mean_of_power(*sizes, m, ratio), rel=1e-8, abs=1e-8 + slack)


def log_mean_of_power(n0: int, n1: int, m: int, ratio: float) -> float:
    """Log of the mean of ratio^K for a hypergeometric K, summed around the likeliest tables of both odds."""

    def around(psi: float) -> float:
        low, high = max(0, m - n0), min(m, n1)

        def term(k: NDArray[np.float64]) -> NDArray[np.float64]:
            ways = -gammaln(k + 1) - gammaln(n1 - k + 1) - gammaln(m - k + 1) - gammaln(n0 - m + k + 1)
            return np.asarray(ways + k * math.log(psi))

        likeliest = nchypergeom_mode(n0, n1, m, psi)
        reach = 40 * math.sqrt(min(n1, m, n0 + n1 - m, n0) + 1) + 40
        ks = np.arange(max(low, int(likeliest - reach)), min(high, int(likeliest + reach)) + 1, dtype=float)
        return float(logsumexp(term(ks)))

    return around(ratio) - around(1.0)


def nchypergeom_mode(n0: int, n1: int, m: int, psi: float) -> float:
    """Where one more event in the canary is as likely as one fewer: the root of a quadratic."""
    low, high = max(0, m - n0), min(m, n1)
    while high - low > 1:
        k = (low + high) // 2
        low, high = (
            (k, high)
            if math.log(n1 - k) + math.log(m - k) + math.log(psi) > math.log(k + 1) + math.log(n0 - m + k + 1)
            else (low, k)
        )
    return low


def test_a_canary_that_fails_ninety_times_as_often_is_seen_in_one_large_batch() -> None:
    (log_e,) = OddsTest(ratios=(20.0,)).log_e(Batch.single(4_780_034, 251_580, 1_793, 8_969))
    assert log_e > 10_000


def test_evidence_that_is_no_number_is_an_error() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(NotComputed):
            HARM.start().update(np.full(len(HARM.ratios), value))


def test_the_normaliser_counts_the_tables() -> None:
    """At psi = 1 it is C(N, m), up to the term that it leaves out: the first one's."""
    n0, n1, m = 50, 20, 30
    first = hypergeom.pmf(max(0, m - n0), n0 + n1, n1, m)
    log_z = log_normaliser(np.array(n0), np.array(n1), np.array(m), np.array([0.0]))
    assert log_z[0] == pytest.approx(-math.log(first), rel=1e-12)


@pytest.mark.parametrize("counts", [(0, 5, 0, 3), (5, 0, 3, 0), (5, 5, 0, 0), (0, 0, 0, 0)])
def test_a_batch_that_compares_nothing_says_nothing(counts: tuple[int, int, int, int]) -> None:
    for test in (HARM, SAFE):
        assert test.log_e(Batch.single(*counts)) == pytest.approx(0, abs=1e-12)


def test_many_rollouts_at_once_get_what_each_gets_alone() -> None:
    rng = np.random.default_rng(5)
    n0, n1 = rng.integers(0, 300, 40), rng.integers(0, 60, 40)
    x0, x1 = rng.integers(0, n0 + 1), rng.integers(0, n1 + 1)
    together = HARM.log_e(Batch(n0, n1, x0, x1))
    alone = [HARM.log_e(Batch.single(*map(int, row))) for row in zip(n0, n1, x0, x1, strict=True)]
    assert together == pytest.approx(np.array(alone), abs=1e-10)


@pytest.mark.slow
def test_looking_at_every_batch_ever_rejects_a_true_null_at_most_alpha_often() -> None:
    """Ville's inequality, by simulation: 4,000 rollouts of 200 looks at 5 %, with a common rate that drifts."""
    rng, runs, alpha = np.random.default_rng(11), 4000, 0.05
    wealth, crossed = HARM.start(runs), np.zeros(runs, dtype=bool)
    for look in range(200):
        rate = 0.01 * (1 + 4 * (60 <= look < 80))
        n1 = np.full(runs, 5 + 45 * look // 200)
        n0 = 100 - n1
        wealth = HARM.update(wealth, Batch(n0, n1, rng.binomial(n0, rate), rng.binomial(n1, rate)))
        crossed |= wealth.log_e >= -math.log(alpha)
    assert crossed.mean() <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)


def test_a_harm_is_found_and_one_that_begins_late_too() -> None:
    rng = np.random.default_rng(3)
    for begins in (0, 120):
        wealth = HARM.start()
        found = None
        for look in range(200):
            rate = 0.05 if look >= begins else 0.002
            counts = rng.binomial(900, 0.002), rng.binomial(100, rate)
            wealth = HARM.update(wealth, Batch.single(900, 100, *map(int, counts)))
            if found is None and float(wealth.log_e) >= math.log(100):
                found = look
        assert found is not None
        assert found - begins <= 8


def test_a_safe_canary_is_found_safe() -> None:
    rng, wealth = np.random.default_rng(4), SAFE.start()
    for _ in range(100):
        wealth = SAFE.update(wealth, Batch.single(500, 500, int(rng.binomial(500, 0.05)), int(rng.binomial(500, 0.05))))
    assert float(wealth.log_e) >= math.log(20)


@pytest.mark.parametrize("counts", [(1, 1, 2, 0), (1, 1, 0, -1)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(InvalidCounts):
        Batch.single(*counts)


@pytest.mark.parametrize("setting", [{"null": 0.0}, {"ratios": (1.0,)}, {"ratios": ()}])
def test_settings_out_of_range_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(InvalidSetting):
        OddsTest(**setting)  # type: ignore[arg-type]
