"""The two platforms behind one port: what each offers, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from sabia.contract.layout import Version
from sabia.contract.signature import Bins
from sabia.kubernetes.cluster import Cluster, Deployed
from sabia.kubernetes.errors import NotCounted
from sabia.local.errors import NotRunning
from sabia.platforms import Deployment, Platform, choose, open_store
from sabia.platforms.cluster import ClusterPlatform
from sabia.platforms.errors import ModelUnnamed, NoModel, NoStore, NotOffered
from sabia.registry.claim import publish
from sabia.registry.errors import Incomparable
from sabia.rollout import engine
from sabia.rollout.plan import from_mapping
from sabia.store.objects import Store
from tests.drafts import SIGNATURE, a_draft

PLAN = from_mapping({"model": "toy", "stable": "1.0", "canary": "2.0"})


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store on files, empty."""
    store = (tmp_path / "store").as_uri()
    Store.open(store, make=True)
    return store


@pytest.fixture
def here(tmp_path: Path, url: str) -> Platform:
    """This machine, without a stack."""
    return choose(None, folder=tmp_path / "stack", store=url)


class FakeCluster:
    """A namespace with some deployed versions; counting the second one's requests fails."""

    namespace = "toys"

    def __init__(self, *deployed: Deployed) -> None:
        self._deployed = list(deployed)

    def versions(self, model: str | None = None) -> list[Deployed]:
        """See `Cluster.versions`."""
        return [item for item in self._deployed if model in (None, item.model)]

    def models(self) -> list[str]:
        """See `Cluster.models`."""
        return sorted({item.model for item in self._deployed})

    def route(self, name: str) -> dict[str, Any]:
        """See `Cluster.route`."""
        backends = [{"name": f"{name}-v1-0-predictor", "port": 80, "weight": 100}]
        mirror = {"backendRef": {"name": f"{name}-v2-0-predictor", "port": 80}}
        rule = {"backendRefs": backends, "filters": [{"type": "RequestMirror", "requestMirror": mirror}]}
        return {"spec": {"hostnames": ["toy.example.com"], "rules": [rule]}}

    def requests_of(self, deployed: Deployed) -> int:
        """See `Cluster.requests_of`."""
        if deployed.version == "2.0":
            raise NotCounted(deployed.version, 503)
        return 7

    def why_not_ready(self, deployed: Deployed) -> str:
        """See `Cluster.why_not_ready`."""
        return f"the pods of {deployed.version} wait for a node"


def there(*deployed: Deployed, model: str | None = None, log: list[str] | None = None) -> ClusterPlatform:
    """A cluster with these versions."""
    cluster = cast("Cluster", FakeCluster(*deployed))
    return ClusterPlatform(cluster, store=None, model=model, log=(log if log is not None else []).append)


STABLE = Deployed("toy-v1-0", "toy", "1.0", ready=True, reason="")
CANARY = Deployed("toy-v2-0", "toy", "2.0", ready=False, reason="")
OTHER = Deployed("iris-v1-0", "iris", "1.0", ready=True, reason="")


def test_this_machine_refuses_to_deploy_in_one_sentence(here: Platform) -> None:
    for call in (
        lambda: here.deploy(Version(1, 0), Deployment()),
        lambda: here.undeploy("1.0", quiet=1, seconds=1),
    ):
        with pytest.raises(NotOffered, match=r"^This machine serves .* --namespace\.$"):
            call()


def test_without_a_stack_nothing_is_served_and_a_store_must_be_named(tmp_path: Path, here: Platform) -> None:
    for call in (lambda: here.model, here.versions, here.split, here.source, here.status, lambda: here.address("")):
        with pytest.raises(NotRunning):
            call()
    with pytest.raises(NoStore):
        open_store(None, folder=tmp_path / "stack")


def test_rollouts_are_read_and_acted_on_without_a_stack(here: Platform) -> None:
    started = engine.start(here.store(), PLAN, {"1.0": 100, "2.0": 0}, actor="a test")
    view = here.rollout(None)
    assert (view.name, view.model, view.ended) == (started.name, "toy", False)
    assert view.facts()["weights"] == {"1.0": 100, "2.0": 0}
    assert here.act(None, "pause", actor="a test", version=None) == started.name
    assert here.rollout(started.name).conditions == ["Paused"]


def test_the_only_model_of_a_namespace_need_not_be_named() -> None:
    assert there(STABLE, CANARY).model == "toy"
    assert there(STABLE, OTHER, model="iris").versions() == ["1.0"]
    with pytest.raises(ModelUnnamed, match="iris, toy"):
        _ = there(STABLE, OTHER).model
    with pytest.raises(NoModel, match="serves no model"):
        _ = there().model
    with pytest.raises(NoModel, match="serves no version of 'wine'"):
        there(STABLE, model="wine").status()


def test_a_namespace_of_several_models_asks_which_one_an_action_is_on() -> None:
    both = there(STABLE, OTHER)
    assert both.models() == ["iris", "toy"]
    for call in (
        lambda: both.rollout(None),
        lambda: both.act(None, "abort", actor="a test", version=None),
        both.split,
        both.status,
    ):
        with pytest.raises(ModelUnnamed, match="iris, toy"):
            call()
    assert there(STABLE, OTHER, model="iris").status().platform["model"] == "iris"


def test_the_status_of_a_cluster_has_weights_trouble_and_the_requests_that_can_be_counted() -> None:
    log: list[str] = []
    status = there(STABLE, CANARY, log=log).status()
    assert status.platform == {"model": "toy", "namespace": "toys", "hosts": ["toy.example.com"], "mirror": "2.0"}
    assert status.versions == [
        {"version": "1.0", "weight": 100, "ready": True, "requests": 7, "trouble": ""},
        {
            "version": "2.0",
            "weight": 0,
            "ready": False,
            "requests": None,
            "trouble": "the pods of 2.0 wait for a node",
        },
    ]
    assert len(log) == 1


def test_a_plan_over_versions_that_cannot_be_compared_is_refused_by_both_platforms(url: str, tmp_path: Path) -> None:
    store = Store.open(url)
    coarse = msgspec.structs.replace(SIGNATURE, bins=Bins(kind="equal", count=10, range=(0.0, 1.0)))
    publish(store, a_draft())
    publish(store, a_draft("other", signature=coarse))
    cluster = ClusterPlatform(cast("Cluster", FakeCluster(STABLE)), store=url, model="toy")
    for platform in (choose(None, folder=tmp_path / "stack", store=url), cluster):
        with pytest.raises(Incomparable, match="counted in different bins"):
            platform.start_rollout(PLAN, name=None, actor="a test")


def test_the_operator_carries_out_the_rollouts_of_a_cluster() -> None:
    there(STABLE).carry_out(None, foreground=False, prometheus=None)
    with pytest.raises(NotOffered, match="operator"):
        there(STABLE).carry_out(None, foreground=True, prometheus=None)
