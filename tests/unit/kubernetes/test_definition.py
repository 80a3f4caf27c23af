"""The definition of a `Rollout`: current, as strict as the plan, and no stricter than it says."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.kubernetes.definition import resource_json_schema
from sabia.kubernetes.resources import plan_from_spec, spec_from_plan
from sabia.rollout.errors import InvalidPlan
from sabia.rollout.plan import from_mapping
from scripts import write_definition
from tests.unit.rollout.fakes import a_plan

Document = dict[str, Any]
Path = tuple[str | int, ...]

SPEC = {
    "model": "breast-cancer",
    "stable": "1.2",
    "canaries": ["2.0"],
    "baseline": False,
    "steps": [5, 25],
    "minimumDwell": "60s",
    "lookEvery": "15s",
    "warmUp": "60s",
    "deadline": "24h",
    "onDeadline": "hold",
    "harm": {"alpha": 0.01},
    "safe": {"beta": 0.05, "margins": {"errors": [5.0, 1.0]}},
    "watch": {
        "errors": {"tolerance": 1.0, "floor": 0.2},
        "latency": {"quantiles": [0.5], "tolerance": 1.05, "slack": "1ms", "onHarm": "hold"},
        "predictions": {"budget": 0.1, "onShift": "hold"},
        "labels": {"tolerance": 1.0, "onHarm": "hold"},
    },
}
# Rules that a schema of single fields cannot express, by the words that a plan's problem starts with.
CROSS_FIELD_RULES = (
    "must name other versions than stable",
    "must be rising",
    "must leave the stable version",
    "must be at least",  # the shortest look and deadline are over 0
    "has ",  # as many margins as steps
)


VALIDATOR = jsonschema.Draft202012Validator(resource_json_schema()["properties"]["spec"])


def leaves(value: Any, path: Path = ()) -> list[Path]:
    """The paths of everything in a document."""
    if isinstance(value, dict):
        return [path, *(leaf for key, item in value.items() for leaf in leaves(item, (*path, key)))]
    if isinstance(value, list):
        return [path, *(leaf for at, item in enumerate(value) for leaf in leaves(item, (*path, at)))]
    return [path]


def changed(path: Path, value: object) -> Document:
    """The spec with one value replaced."""
    document: Any = copy.deepcopy(SPEC)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return dict(document)


numbers = (
    st.integers(-5, 1000) | st.floats(-1, 200) | st.sampled_from([0, 0.0, 0.5, 1, 1.0, 100, 99, math.nextafter(0.5, 0)])
)
words = ["", "hold", "roll-back", "promote", "a", "Breast", "a-"]
texts = st.sampled_from([*words, "1.2", "2.0", "01.2", "1.0000000", "0s", "1d", "5x", "1.5h"])
values: st.SearchStrategy[object] = (
    numbers | texts | st.booleans() | st.none() | st.lists(numbers | texts, max_size=3) | st.just({})
)


def accepted_by_the_plan(spec: Document) -> str | None:
    """None if the plan accepts it, else the problem."""
    try:
        plan_from_spec(spec)
    except InvalidPlan as error:
        return error.problem
    return None


@given(st.sampled_from([path for path in leaves(SPEC) if path]), values)
def test_what_the_schema_accepts_the_plan_accepts_and_a_bound_is_in_both(path: Path, value: object) -> None:
    spec = changed(path, value)
    by_schema = VALIDATOR.is_valid(spec)
    problem = accepted_by_the_plan(spec)
    if by_schema:
        assert problem is None or problem.startswith(CROSS_FIELD_RULES), (path, value, problem)
    if problem is not None and not problem.startswith(CROSS_FIELD_RULES):
        assert not by_schema, (path, value, problem)


@given(st.sampled_from([path for path in leaves(SPEC) if path]), values)
def test_the_schema_refuses_nothing_that_the_plan_accepts_but_numbers_for_durations(path: Path, value: object) -> None:
    """A duration is a string in a resource, and one that names no unit is a number of seconds in a plan's file."""
    spec = changed(path, value)
    if accepted_by_the_plan(spec) is None and not VALIDATOR.is_valid(spec):
        assert path[-1] in ("minimumDwell", "lookEvery", "warmUp", "deadline", "slack"), (path, value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("harm", "alpha"), 0.5),
        (("harm", "alpha"), 0),
        (("safe", "beta"), 0.5),
        (("watch", "errors"), None),
        (("watch", "errors", "floor"), 100),
        (("watch", "latency", "quantiles"), []),
        (("watch", "predictions", "budget"), 1),
        (("canaries",), []),
        (("canaries", 0), "2"),
        (("steps", 0), 0),
        (("stable",), "01.2"),
        (("model",), "Breast"),
        (("deadline",), "soon"),
        (("onDeadline",), "promote"),
    ],
    ids=str,
)
def test_each_bound_is_in_the_schema_and_in_the_plan(path: Path, value: object) -> None:
    spec = changed(path, value)
    assert not VALIDATOR.is_valid(spec)
    assert accepted_by_the_plan(spec) is not None


@pytest.mark.parametrize(
    "edit",
    [
        lambda spec: spec.update(canaries=["1.2"]),
        lambda spec: spec.update(steps=[25, 5]),
        lambda spec: spec.update(canaries=["2.0", "2.1"], steps=[5, 60]),
        lambda spec: spec.update(lookEvery="1ms"),
        lambda spec: spec["safe"].update(margins={"errors": [5.0]}),
    ],
)
def test_rules_across_fields_are_the_plans_alone(edit: Callable[[Document], None]) -> None:
    spec: Any = copy.deepcopy(SPEC)
    edit(spec)
    assert VALIDATOR.is_valid(spec)
    problem = accepted_by_the_plan(spec)
    assert problem is not None
    assert problem.startswith(CROSS_FIELD_RULES)


def test_a_plan_becomes_a_spec_that_is_valid_and_the_same_plan() -> None:
    for plan in (
        a_plan(),
        a_plan(canary=["2.0", "2.1"], steps=[5, 25], baseline=True),
        a_plan(minimum_dwell=90, look_every=0.5, watch={"errors": {}, "latency": {"slack": 0.002}}),
    ):
        spec = spec_from_plan(plan)
        assert list(VALIDATOR.iter_errors(spec)) == []
        again = plan_from_spec(spec)
        assert (again.dwell_seconds, again.look_seconds) == (plan.dwell_seconds, plan.look_seconds)
        assert spec_from_plan(again) == spec
    assert plan_from_spec(SPEC) == from_mapping(
        {
            "model": "breast-cancer",
            "stable": "1.2",
            "canary": "2.0",
            "steps": [5, 25],
            "watch": {
                "errors": {},
                "latency": {"quantiles": [0.5], "on_harm": "hold"},
                "predictions": {},
                "labels": {"on_harm": "hold"},
            },
        }
    )


def test_a_problem_is_named_by_the_field_of_the_spec() -> None:
    with pytest.raises(InvalidPlan, match="plan's lookEvery must be at least"):
        plan_from_spec(changed(("lookEvery",), "1ms"))


def test_the_generated_files_are_current() -> None:
    assert write_definition.DEFINITION.read_text() == write_definition.definition_text()
    assert write_definition.SCHEMA.read_text() == write_definition.schema_text()
