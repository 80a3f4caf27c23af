"""Several models in one namespace: no document, selector, route or action of one is of another."""

from __future__ import annotations

from typing import Any

from sabia.contract.layout import Version
from sabia.kubernetes import manifests
from sabia.kubernetes import route as routes
from sabia.kubernetes.documents import documents as documents_of
from sabia.kubernetes.resources import select

Document = dict[str, Any]

# The second one starts with the first one's name, and looks like one of its InferenceServices.
MODELS = ("churn", "churn-v1-0")


def made(model: str, version: str) -> dict[tuple[str, str], Document]:
    """The documents of a version, by kind and name."""
    found = documents_of(model, Version.parse(version), namespace="sabia")
    return {(document["kind"], document["metadata"]["name"]): document for document in found}


def test_two_models_share_nothing() -> None:
    one, other = (made(model, "1.0") for model in MODELS)
    assert not one.keys() & other.keys()


def test_a_selector_matches_the_pods_of_its_own_version() -> None:
    for model in MODELS:
        found = made(model, "1.0")
        (service,) = [name for kind, name in found if kind == "InferenceService"]
        own = {"matchLabels": {"serving.kserve.io/inferenceservice": service}}
        assert found["NetworkPolicy", service]["spec"]["podSelector"] == own
        assert found["PodDisruptionBudget", service]["spec"]["selector"] == own


def test_the_routes_of_two_models_match_no_path_of_each_other() -> None:
    template = manifests.only(manifests.render(manifests.ROOT / "traffic"), "HTTPRoute", "traffic")
    made_routes = [
        routes.new(
            template, routes.Backend(model, "1.0", f"{model}-v1-0-predictor"), namespace="sabia", host="one.host"
        )
        for model in MODELS
    ]
    paths = [
        {match["path"]["value"] for rule in route["spec"]["rules"] for match in rule["matches"]}
        for route in made_routes
    ]
    assert not paths[0] & paths[1]
    # A prefix matches whole elements of a path.
    for path in paths[1]:
        assert not any(path.startswith((f"{prefix}/", f"{prefix}:")) for prefix in paths[0])
    assert [route["metadata"]["name"] for route in made_routes] == list(MODELS)


def test_the_newest_rollout_of_a_model_is_not_that_of_another() -> None:
    rollouts = [
        {"metadata": {"name": model, "creationTimestamp": f"2026-01-0{day}T00:00:00Z"}, "spec": {"model": model}}
        for day, model in enumerate(MODELS, start=1)
    ]
    assert [select(rollouts, model, None)["metadata"]["name"] for model in MODELS] == list(MODELS)
