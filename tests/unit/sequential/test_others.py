"""Dispersion, pairs, shares, families, planning."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.special import beta, betainc

from sabia.sequential import (
    Dispersion,
    InvalidCounts,
    InvalidSetting,
    above_rate,
    combine,
    e_benjamini_hochberg,
    failing_clients,
    sample_ratio_mismatch,
    sign_test,
)
from sabia.sequential.odds import RATIOS
from sabia.sequential.planning import odds_growth
from sabia.sequential.wealth import log_mean


def scattered(burst: int, looks: int = 240) -> float:
    rng, dispersion = np.random.default_rng(6), Dispersion.start()
    for _ in range(looks):
        failed = burst * rng.poisson(7.5 / burst)
        dispersion = dispersion.update(np.array(1500), np.array(min(int(failed), 1500)))
    return float(dispersion.phi)


def test_independent_requests_are_not_tempered() -> None:
    assert scattered(1) == 1.0


@pytest.mark.parametrize("burst", [3, 10, 30])
def test_bursts_are_tempered_by_at_least_their_size(burst: int) -> None:
    assert burst <= scattered(burst) <= 2.5 * burst


def test_an_outage_that_lasts_costs_little_as_only_its_two_edges_scatter() -> None:
    rng, dispersion = np.random.default_rng(6), Dispersion.start()
    for look in range(240):
        rate = 0.05 if 100 <= look < 140 else 0.005
        dispersion = dispersion.update(np.array(1500), np.array(rng.binomial(1500, rate)))
    assert 1.0 <= float(dispersion.phi) <= 3.0


def test_batches_without_requests_say_nothing_of_scatter() -> None:
    dispersion = Dispersion.start()
    for n, x in ((100, 5), (0, 0), (100, 5), (0, 0)):
        dispersion = dispersion.update(np.array(n), np.array(x))
    assert (float(dispersion.pairs), float(dispersion.phi)) == (1.0, 1.0)


def test_a_client_that_fails_often_counts_once() -> None:
    assert failing_clients([("a", True), ("a", True), ("b", False), ("a", False), ("c", True)]) == (3, 2)


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_sign_test_is_the_mixture_of_the_formula(b: int, c: int) -> None:
    """E = 2^(b+c) * 2 * [B(b+1, c+1) - B_1/2(b+1, c+1)]."""
    whole = beta(b + 1, c + 1)
    expected = 2 ** (b + c) * 2 * whole * (1 - betainc(b + 1, c + 1, 0.5))
    assert math.exp(sign_test(b, c)) == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 30), st.integers(0, 30), st.floats(0.01, 0.9))
def test_above_rate_is_the_mixture_of_its_docstring(events: int, others: int, rate: float) -> None:
    n, b = events + others, max(1, round(0.25 / rate))

    def ratio(t: float) -> float:
        prior = b * (1 - t) ** (b - 1) / (1 - rate) ** b
        return float(prior * (t / rate) ** events * ((1 - t) / (1 - rate)) ** others)

    expected = integrate.quad(ratio, rate, 1, limit=200)[0]
    assert math.exp(above_rate(events, n, rate)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [1, 4, 12])
def test_pairs_have_a_mean_of_one_at_the_null(n: int) -> None:
    for rate in (0.02, 0.5):
        mean = sum(
            math.comb(n, k) * rate**k * (1 - rate) ** (n - k) * math.exp(above_rate(k, n, rate)) for k in range(n + 1)
        )
        assert mean == pytest.approx(1, rel=1e-9)


def test_shares_that_hold_are_no_mismatch_and_others_are() -> None:
    assert sample_ratio_mismatch([9000, 1000], [0.9, 0.1]) < 0
    assert sample_ratio_mismatch([8500, 1500], [0.9, 0.1]) > math.log(1000)
    assert sample_ratio_mismatch([0, 0], [0.5, 0.5]) == pytest.approx(0, abs=1e-12)


def test_a_mismatch_has_a_mean_of_one_at_the_null() -> None:
    n, share = 12, 0.3
    mean = sum(
        math.comb(n, k)
        * share**k
        * (1 - share) ** (n - k)
        * math.exp(sample_ratio_mismatch([n - k, k], [1 - share, share]))
        for k in range(n + 1)
    )
    assert mean == pytest.approx(1, rel=1e-9)


def test_an_average_of_evidence_is_weighted() -> None:
    assert combine({"a": math.log(100), "b": 0.0}, {"a": 0.5, "b": 0.5}) == pytest.approx(math.log(50.5))
    assert combine({"a": -math.inf}, {"a": 1.0}) == -math.inf


def test_one_canary_is_harmed_when_its_evidence_reaches_one_over_alpha() -> None:
    assert e_benjamini_hochberg({"2.0": math.log(100)}, 0.01) == ["2.0"]
    assert e_benjamini_hochberg({"2.0": math.log(99)}, 0.01) == []


def test_several_canaries_are_rejected_by_e_bh() -> None:
    """Of two, one alone needs twice the evidence; both together need it once each."""
    assert e_benjamini_hochberg({"2.0": math.log(150), "2.1": 0.0}, 0.01) == []
    assert e_benjamini_hochberg({"2.0": math.log(200), "2.1": 0.0}, 0.01) == ["2.0"]
    assert e_benjamini_hochberg({"2.0": math.log(120), "2.1": math.log(101)}, 0.01) == ["2.0", "2.1"]


def test_e_bh_keeps_false_rejections_under_alpha_on_average() -> None:
    """Three canaries, one of them truly worse; the other two's evidence are e-values of mean one."""
    rng, alpha, shares = np.random.default_rng(0), 0.1, []
    for _ in range(4000):
        evidence = {"bad": 3.0, **{name: float(rng.normal(-2, 2)) for name in ("a", "b")}}
        found = e_benjamini_hochberg(evidence, alpha)
        shares.append(sum(name != "bad" for name in found) / max(len(found), 1))
    assert np.mean(shares) <= alpha


def test_the_plan_knows_how_fast_evidence_grows() -> None:
    """0.1 -> 0.5 % at 100 requests a second and 5 %, a look every 15 s: about 300 s."""
    growth = odds_growth(1500, 0.05, 0.001, 0.005)
    assert growth.shape == (len(RATIOS),)
    looks = np.arange(1, 401)[:, None]
    enough = np.flatnonzero(log_mean(looks * growth) >= math.log(100))
    assert 240 <= 15 * (enough[0] + 1) <= 400
    assert log_mean(looks * odds_growth(1500, 0.05, 0.001, 0.001)).max() < math.log(100)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidCounts):
        above_rate(3, 2, 0.5)
    with pytest.raises(InvalidSetting):
        above_rate(1, 2, 1.0)
    with pytest.raises(InvalidCounts):
        sample_ratio_mismatch([1], [0.5, 0.5])
    with pytest.raises(InvalidSetting):
        sample_ratio_mismatch([1, 1], [0.5, 0.6])
    with pytest.raises(InvalidSetting):
        combine({"a": 0.0}, {"b": 1.0})
