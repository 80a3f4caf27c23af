"""Requests per second from counters."""

from __future__ import annotations

from sabia.monitoring.live.rates import RequestRates


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """The time that was set."""
        return self.seconds


def test_rates_are_of_the_last_ten_seconds() -> None:
    clock = Clock()
    rates = RequestRates(clock)
    assert rates.update({"1.2": 0}) == {}
    clock.seconds = 10
    assert rates.update({"1.2": 100}) == {"1.2": 10.0}
    clock.seconds = 20
    assert rates.update({"1.2": 120}) == {"1.2": 2.0}


def test_a_restarted_server_and_a_new_version_have_no_rate() -> None:
    clock = Clock()
    rates = RequestRates(clock)
    rates.update({"1.2": 100})
    clock.seconds = 1
    assert rates.update({"1.2": 5, "2.0": 3}) == {}
