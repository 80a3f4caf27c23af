"""An HTTPRoute rewritten as a document: whatever is done to it, it stays a route that the cluster takes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.contract.names import PIN_HEADER, SPLIT
from sabia.kubernetes import route as routes
from sabia.kubernetes.httproute import unconfirmed
from sabia.kubernetes.manifests import ROOT, render
from sabia.kubernetes.manifests import route as spec_of
from sabia.kubernetes.route import Backend
from tests.unit.manifests.schemas import problems

Document = dict[str, Any]

MODEL = "breast-cancer"
SHIPPED = next(item for item in render(ROOT / "traffic") if item["kind"] == "HTTPRoute")


def backend(version: str) -> Backend:
    """The backend of a version, named as the manifests name it."""
    return Backend(MODEL, version, f"{MODEL}-v{version.replace('.', '-')}-predictor")


def a_new_route(version: str = "1.2") -> Document:
    """A route of one version."""
    return routes.new(SHIPPED, backend(version), namespace="sabia", host=f"{MODEL}.example.com")


def names(route: Document) -> list[str]:
    """The names of a route's rules."""
    return [rule["name"] for rule in route["spec"]["rules"]]


versions = st.builds("{}.{}".format, st.integers(1, 3), st.integers(0, 12))


def test_building_the_route_step_by_step_gives_the_one_that_is_shipped() -> None:
    built = routes.with_version(a_new_route("1.2"), backend("2.0"))
    built = routes.with_weights(built, {backend("1.2").service: 90, backend("2.0").service: 10})
    assert built == SHIPPED


def test_the_first_version_gets_everything_and_a_later_one_nothing() -> None:
    later = routes.with_version(a_new_route("1.2"), backend("2.0"))
    assert routes.weights(later) == {backend("1.2").service: 100, backend("2.0").service: 0}


@given(st.lists(versions, unique=True, min_size=1, max_size=5), st.data())
def test_every_version_of_the_split_has_one_pin_and_every_pin_goes_to_its_version(
    known: list[str], data: st.DataObject
) -> None:
    route = a_new_route(known[0])
    for version in known[1:]:
        route = routes.with_version(route, backend(version))
    gone = data.draw(st.lists(st.sampled_from(known[1:]), unique=True) if known[1:] else st.just([]))
    for version in gone:
        route = routes.without_version(route, backend(version))
    spec = spec_of([route], where="built")
    pins = {next(iter(rule.weights)): rule.matches[0].headers[PIN_HEADER] for rule in spec.pins}
    assert pins == {backend(version).service: version for version in known if version not in gone}
    assert set(spec.split.weights) == set(pins)
    assert problems(route) == []


@given(st.lists(versions, unique=True, min_size=2, max_size=6), st.booleans())
def test_no_rule_moves_when_a_version_comes_nor_the_split_when_one_goes(known: list[str], split_last: bool) -> None:
    """A gateway may name what is behind a rule by the rule's place, and lose calls when another takes it."""
    route = a_new_route(known[0])
    if split_last:
        route["spec"]["rules"].reverse()
    for version in known[1:]:
        before = names(route)
        route = routes.with_version(route, backend(version))
        assert names(route)[: len(before)] == before
    place = names(route).index(SPLIT)
    for version in reversed(known[1:]):
        route = routes.without_version(route, backend(version))
        assert names(route).index(SPLIT) == place


@given(st.dictionaries(st.sampled_from(["1.2", "2.0"]), st.integers(0, 100)))
def test_new_weights_are_read_back_and_everything_else_stays(weights: dict[str, int]) -> None:
    by_service = {backend(version).service: weight for version, weight in weights.items()}
    changed = routes.with_weights(SHIPPED, by_service)
    assert routes.weights(changed) == routes.weights(SHIPPED) | by_service
    assert routes.with_weights(changed, routes.weights(SHIPPED)) == SHIPPED


def test_adding_a_version_again_changes_nothing() -> None:
    assert routes.with_version(SHIPPED, backend("2.0")) == SHIPPED


def test_a_mirror_is_read_back_taken_back_and_leaves_with_its_version() -> None:
    service = backend("2.0").service
    mirrored = routes.with_mirror(SHIPPED, service)
    assert routes.mirror(mirrored) == service
    assert problems(mirrored) == []
    assert routes.with_mirror(mirrored, service) == mirrored
    assert routes.with_mirror(mirrored, None) == SHIPPED
    assert routes.mirror(routes.without_version(mirrored, backend("2.0"))) is None


def test_filters_of_others_stay() -> None:
    other = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}]}}
    route = copy.deepcopy(SHIPPED)
    route["spec"]["rules"][0]["filters"] = [other]
    mirrored = routes.with_mirror(route, backend("2.0").service)
    assert other in mirrored["spec"]["rules"][0]["filters"]
    assert routes.with_mirror(mirrored, None) == route


def test_the_document_that_is_given_is_left_as_it_was() -> None:
    before = copy.deepcopy(SHIPPED)
    routes.with_version(SHIPPED, backend("2.1"))
    routes.without_version(SHIPPED, backend("2.0"))
    routes.with_weights(SHIPPED, {backend("1.2").service: 0})
    routes.with_mirror(SHIPPED, "other")
    assert before == SHIPPED


def a_status(generation: int, **conditions: str) -> Document:
    """A route with a parent that says this of a generation."""
    reason = [
        {"type": kind, "status": status, "observedGeneration": generation, "message": f"{kind} is {status}."}
        for kind, status in conditions.items()
    ]
    return {"status": {"parents": [{"conditions": reason}]}}


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        ({}, "no gateway has taken the route"),
        (a_status(2, Accepted="True", ResolvedRefs="True"), "the gateway has not processed it yet"),
        (a_status(3, Accepted="True"), "the gateway has not processed it yet"),
        (a_status(3, Accepted="True", ResolvedRefs="False"), "ResolvedRefs is False"),
        (a_status(3, Accepted="True", ResolvedRefs="True"), None),
        (a_status(4, Accepted="True", ResolvedRefs="True"), None),
    ],
)
def test_a_change_is_in_force_when_every_gateway_has_accepted_that_generation(
    route: Document, reason: str | None
) -> None:
    assert unconfirmed(route, 3) == reason


def test_one_gateway_that_has_not_looked_keeps_a_change_from_being_in_force() -> None:
    both = a_status(3, Accepted="True", ResolvedRefs="True")
    both["status"]["parents"].append(a_status(2, Accepted="True", ResolvedRefs="True")["status"]["parents"][0])
    assert unconfirmed(both, 3) == "the gateway has not processed it yet"
