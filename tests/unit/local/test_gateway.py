"""Envoy's configuration, generated from the HTTPRoute."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.kubernetes.errors import ManifestProblem
from sabia.kubernetes.manifests import ROOT, predictor, render, route
from sabia.kubernetes.specs import Match, RouteSpec, Rule
from sabia.local import gateway

Document = dict[str, Any]


def an_http_route(*rules: Document) -> list[Document]:
    """Rendered documents with one HTTPRoute."""
    return [{"kind": "HTTPRoute", "metadata": {"name": "toy"}, "spec": {"rules": list(rules)}}]


def a_rule(path: str = "/x", kind: str = "Exact", **more: Any) -> Document:
    """A rule with one match and one backend."""
    return {"matches": [{"path": {"type": kind, "value": path}}], "backendRefs": [{"name": "a", "port": 80}]} | more


def a_route(weights: dict[str, int], name: str = "toy") -> RouteSpec:
    """A route with one split, and a pin."""
    split = Rule([Match(f"/{name}", exact=True, headers={})], weights, [], None)
    pin = Rule([Match(f"/{name}", exact=True, headers={"x-model-version": "1.0"})], {"pinned": 1}, [], None)
    return RouteSpec(name, [], split, [pin])


def envoy_routes(spec: RouteSpec) -> list[Document]:
    """The routes of the routes file, after the one that refuses marks of mirrored requests."""
    refusing, *found = gateway.routes([spec])["resources"][0]["virtual_hosts"][0]["routes"]
    assert refusing["direct_response"]["status"] == 400
    return list(found)


weight_maps = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 100), min_size=1)


@given(weight_maps, weight_maps)
def test_new_weights_are_read_back_and_others_stay(before: dict[str, int], after: dict[str, int]) -> None:
    spec = gateway.with_weights(a_route(before), after)
    assert gateway.weights_of(gateway.routes([spec]), "toy") == before | after


@given(weight_maps, weight_maps)
def test_the_version_of_the_routes_changes_exactly_when_they_do(one: dict[str, int], other: dict[str, int]) -> None:
    versions = [gateway.routes([a_route(weights)])["version_info"] for weights in (one, other)]
    assert (versions[0] == versions[1]) == (one == other and list(one) == list(other))


@given(weight_maps, weight_maps, weight_maps)
def test_a_change_of_one_model_leaves_the_routes_of_the_others(
    one: dict[str, int], other: dict[str, int], changed: dict[str, int]
) -> None:
    specs = [a_route(one, "one"), a_route(other, "other")]
    mirrored = gateway.with_mirrors(a_route(changed, "one"), ["a"])
    found = gateway.replaced(gateway.routes(specs), mirrored)
    assert (gateway.weights_of(found, "one"), gateway.weights_of(found, "other")) == (changed, other)
    assert (gateway.mirrors_of(found, "one"), gateway.mirrors_of(found, "other")) == (["a"], [])
    assert gateway.replaced(found, specs[0]) == gateway.routes([specs[1], specs[0]])


def test_a_pin_goes_before_the_split_and_an_exact_path_before_a_prefix() -> None:
    spec = route(render(ROOT / "traffic"), where="traffic")
    found = envoy_routes(spec)
    exact = ["path" in item["match"] for item in found]
    assert exact == sorted(exact, reverse=True)
    predict = [item for item in found if item["match"].get("path", "").endswith(":predict")]
    assert [bool(item["match"]["headers"]) for item in predict] == [True, True, False]


def test_a_prefix_matches_whole_elements_as_the_gateway_api_says() -> None:
    (found,) = envoy_routes(route(an_http_route(a_rule("/v2/models/m", "PathPrefix")), where="toy"))
    assert found["match"]["path_separated_prefix"] == "/v2/models/m"


def test_a_mirror_gets_a_copy_and_no_weight() -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow", "port": 80}}}
    spec = route(an_http_route(a_rule(filters=[mirror])), where="toy")
    (found,) = envoy_routes(spec)
    assert found["route"]["request_mirror_policies"] == [{"cluster": "shadow" + gateway.ASIDE}]
    assert spec.split.weights == {"a": 1}
    assert spec.services == ["a", "shadow"]


@pytest.mark.parametrize(("text", "seconds"), [("10s", "10s"), ("1m", "60s"), ("500ms", "0.5s")])
def test_a_timeout_is_kept(text: str, seconds: str) -> None:
    (found,) = envoy_routes(route(an_http_route(a_rule(timeouts={"request": text})), where="toy"))
    assert found["route"]["timeout"] == seconds


@pytest.mark.parametrize(
    "rule",
    [
        a_rule(kind="RegularExpression"),
        a_rule(filters=[{"type": "URLRewrite", "urlRewrite": {}}]),
        a_rule(sessionPersistence={}),
        {"matches": [{"method": "GET", "path": {"value": "/"}}], "backendRefs": [{"name": "a", "port": 80}]},
        {"matches": [{"path": {"value": "/"}}]},
    ],
)
def test_what_the_one_machine_gateway_cannot_do_is_refused_not_dropped(rule: Document) -> None:
    with pytest.raises(ManifestProblem, match="toy"):
        route(an_http_route(rule), where="toy")


@pytest.mark.parametrize("count", [0, 2])
def test_a_route_has_one_rule_that_every_request_meets(count: int) -> None:
    with pytest.raises(ManifestProblem, match=f"{count} rules without a header"):
        route(an_http_route(*[a_rule()] * count), where="toy")


def test_only_loopback_is_listened_on(tmp_path: Any) -> None:
    text = str(gateway.bootstrap(port=1, admin_port=2, folder=tmp_path))
    assert text.count("'address': '127.0.0.1'") == 2
    assert "0.0.0.0" not in text


def test_the_readiness_probe_becomes_the_gateways_health_check() -> None:
    spec = predictor(render(ROOT / "versions" / "breast-cancer-v2-0"), where="2.0")
    cluster, aside = gateway.clusters({spec.service: (spec, [1234, 1235])})["resources"]
    assert (cluster["name"], aside["name"]) == (spec.service, spec.service + gateway.ASIDE)
    (locality,) = cluster["load_assignment"]["endpoints"]
    assert len(locality["lb_endpoints"]) == 2
    (check,) = cluster["health_checks"]
    assert check["http_health_check"] == {"path": spec.readiness.path}
    assert check["interval"] == f"{spec.readiness.period:g}s"
    assert cluster["common_lb_config"]["healthy_panic_threshold"] == {"value": 0}


@pytest.mark.parametrize("documents", [[], [{"kind": "InferenceService", "metadata": {"labels": {}}, "spec": {}}]])
def test_documents_without_a_predictor_are_refused(documents: list[Document]) -> None:
    with pytest.raises(ManifestProblem):
        predictor(documents, where="toy")


def test_a_kustomization_that_does_not_build_is_refused_with_its_reason(tmp_path: Any) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [missing.yaml]")
    with pytest.raises(ManifestProblem, match=r"missing\.yaml"):
        render(tmp_path)
