from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.rollout.errors import InvalidPlan
from sabia.rollout.plan import from_mapping, parse, seconds, to_yaml

PLAN = """\
model: breast-cancer
stable: "1.2"
canary: "2.0"
steps: [1, 5, 10, 25, 50]
minimum_dwell: 60s
look_every: 15s
harm:  {alpha: 0.01}
safe:  {beta: 0.05, margins: {errors: [20, 5, 2, 1, 1]}}
watch:
  errors:      {tolerance: 1.0}
  latency:     {quantiles: [0.5, 0.9, 0.99], tolerance: 1.05}
  predictions: {budget: 0.10, on_shift: hold}
  labels:      {on_harm: roll-back}
  refusals:    {on_harm: roll-back}
on_deadline: hold
"""


def test_the_plan_of_the_design_is_read() -> None:
    plan = parse(PLAN)
    assert (plan.canaries, plan.dwell_seconds, plan.look_seconds) == (["2.0"], 60, 15)
    assert plan.margins == [0.20, 0.05, 0.02, 0.01, 0.01]
    assert plan.weights(1) == {"1.2": 95, "2.0": 5}
    assert plan.weights(None) == {"1.2": 100, "2.0": 0}


def test_what_is_left_out_has_the_designs_defaults() -> None:
    assert from_mapping({"model": "breast-cancer", "stable": "1.2", "canary": "2.0"}) == parse(PLAN)


def test_margins_follow_the_steps_where_none_are_given() -> None:
    assert from_mapping({"model": "m", "stable": "1.0", "canary": "2.0", "steps": [2, 7, 30]}).margins == [
        0.20,
        0.05,
        0.01,
    ]


def test_a_plan_that_is_written_out_is_the_same_plan() -> None:
    assert parse(to_yaml(parse(PLAN))) == parse(PLAN)


MINIMAL: dict[str, Any] = {"model": "m", "stable": "1.0", "canary": "2.0"}


def test_another_plan_has_another_digest() -> None:
    plan = parse(PLAN)
    assert plan.digest == parse(to_yaml(plan)).digest
    assert plan.digest != parse(PLAN.replace("60s", "61s")).digest


def test_fields_that_a_plan_leaves_out_are_not_part_of_its_digest() -> None:
    """Records of plans from before a field existed continue."""
    document = msgspec.json.decode(msgspec.json.encode(from_mapping(MINIMAL)))
    assert document["watch"]["labels"] == {"tolerance": 1.0, "on_harm": "roll-back"}


def test_the_rules_for_labels_have_defaults() -> None:
    labels = from_mapping(MINIMAL).watch.labels
    assert labels is not None
    assert (labels.batch_seconds, labels.wait_seconds, labels.largest_error) == (600, 3600, None)
    given = from_mapping(MINIMAL | {"watch": {"errors": {}, "labels": {"batch": "5m", "error_beyond": 15}}})
    assert given.watch.labels is not None
    assert (given.watch.labels.batch_seconds, given.watch.labels.largest_error) == (300, 15)


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"error_beyond": 0}, "watch.labels.error_beyond"),
        ({"batch": "1ms"}, "watch.labels.batch"),
        ({"close_after": "soon"}, "watch.labels.close_after"),
    ],
)
def test_a_wrong_rule_for_labels_is_named(rules: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidPlan) as error:
        from_mapping(MINIMAL | {"watch": {"errors": {}, "labels": rules}})
    assert error.value.field == field


def test_several_canaries_share_what_the_stable_gives_up() -> None:
    plan = from_mapping({"model": "m", "stable": "1.0", "canary": ["2.0", "2.1"], "steps": [10]})
    assert plan.weights(0) == {"1.0": 80, "2.0": 10, "2.1": 10}
    assert plan.weights(0, ["2.1"]) == {"1.0": 90, "2.0": 0, "2.1": 10}


@pytest.mark.parametrize(
    ("before", "after", "field", "line"),
    [
        ("alpha: 0.01", "alpha: 2", "harm.alpha", 7),
        ("[1, 5, 10, 25, 50]", "[5, 1]", "steps", 4),
        ("[1, 5, 10, 25, 50]", "[50, 100]", "steps", 4),
        ("[20, 5, 2, 1, 1]", "[1]", "safe.margins.errors", 8),
        ("minimum_dwell: 60s", "minimum_dwell: soon", "minimum_dwell", 5),
        ("look_every: 15s", "look_every: 0s", "look_every", 6),
        ("tolerance: 1.05", "tolerance: 0.5", "watch.latency.tolerance", 11),
        ("on_deadline: hold", "on_deadline: promote", "on_deadline", 15),
        ('canary: "2.0"', 'canary: "1.2"', "canary", 3),
        ('canary: "2.0"', "canary: 2.0", "canary", 3),
        ('canary: "2.0"', 'canary: "new"', "canary", 3),
        ("model: breast-cancer", "model: Breast", "model", 1),
        ("look_every: 15s", "look_evry: 15s", "look_evry", 6),
        ("  errors:      {tolerance: 1.0}\n", "", "watch.errors", 9),
    ],
)
def test_what_is_wrong_is_named_by_field_and_line(before: str, after: str, field: str, line: int) -> None:
    with pytest.raises(InvalidPlan) as caught:
        parse(PLAN.replace(before, after))
    assert (caught.value.field, caught.value.line) == (field, line)
    assert f"(line {line})" in str(caught.value)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(InvalidPlan, match="plan's stable is missing"):
        from_mapping({"model": "m", "canary": "2.0"})


def test_a_text_that_is_no_yaml_is_refused_with_its_line() -> None:
    with pytest.raises(InvalidPlan, match=r"The plan's text \(line 3\) is not YAML"):
        parse("model: m\nsteps: [1, 2\nstable: x: y")


def test_a_canary_that_is_named_twice_is_refused_and_not_the_last_one_taken() -> None:
    with pytest.raises(InvalidPlan, match=r"The plan's canary \(line 4\) appears twice"):
        parse('model: m\nstable: "1.0"\ncanary: "2.0"\ncanary: "2.1"\n')


@given(st.integers(1, 999), st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]))
def test_durations_are_numbers_with_a_unit(number: int, unit: tuple[str, float]) -> None:
    assert seconds(f"{number}{unit[0]}") == pytest.approx(number * unit[1])
    assert seconds(number) == number
