from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.contract.durations import EDGES, LABELS, format_duration, parse_duration

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("700ms", 0.7),
        ("15s", 15),
        ("2m", 120),
        ("1.5h", 5400),
        ("7d", 604800),
        ("0s", 0),
        ("0.5ms", 5e-4),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(st.integers(0, 10**6), st.sampled_from(sorted(UNITS)))
def test_every_whole_number_of_a_unit_is_parsed(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * UNITS[unit])


@pytest.mark.parametrize(
    "text", ["", "15", "s", "-1s", "1 s", "1.s", ".5s", "1e3s", "1h30m", "1w", "1S", "nan", "1s\n"]
)
def test_any_other_text_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@given(st.floats(0, 1e9, allow_subnormal=False) | st.integers(0, 10**7).map(float))
def test_a_formatted_duration_is_parsed_as_the_same_seconds(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["0s", "200ms", "0.5ms", "1.5s", "15s", "90s", "5m", "90m", "2h", "1d"])
def test_a_duration_is_formatted_as_an_engineer_writes_it(text: str) -> None:
    assert format_duration(parse_duration(text)) == text


def test_the_buckets_rise_by_at_most_five_percent() -> None:
    assert (EDGES[0], EDGES[-1], len(LABELS)) == (1e-5, 60.0, len(EDGES) + 1)
    assert all(low < high <= 1.0501 * low for low, high in itertools.pairwise(EDGES))
    assert [float(label) for label in LABELS[:-1]] == list(EDGES)
