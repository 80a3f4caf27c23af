"""What is taken away under load, and what that costs. No call is retried by a client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster import tools
from tests.cluster.tools import MODEL, NAMESPACE, STORE, Served
from tests.waiting import eventually

STABLE = f"{MODEL}-v1-2"
GATEWAY_NAMESPACE = "envoy-gateway-system"
GATEWAY_LABEL = "gateway.envoyproxy.io/owning-gateway-name=kserve-ingress-gateway"


@pytest.fixture
def two_replicas(served: Served) -> Iterator[None]:
    """Two pods of the stable version, behind a gateway that sends again what never reached a server."""
    tools.apply_folder("gateway/limits")
    assert tools.sabia("deploy", MODEL, "1.2", "--replicas", "2").returncode == 0
    eventually(lambda: tools.readiness(STABLE) == [True, True])
    yield
    tools.kubectl("delete", "-n", NAMESPACE, "backendtrafficpolicy", MODEL)
    assert tools.sabia("deploy", MODEL, "1.2").returncode == 0


def test_a_pod_that_is_killed_fails_no_request_where_two_replicas_run(
    two_replicas: None, url: str, row: list[float]
) -> None:
    with tools.load(url, row) as load:
        for _ in range(3):
            victim = tools.pods_of(STABLE)[0]["metadata"]["name"]
            tools.kubectl("delete", "pod", "-n", NAMESPACE, victim, "--force", "--grace-period=0")
            load.wait_for(100)
            eventually(lambda: tools.readiness(STABLE) == [True, True])
    tools.report("three pods killed, two replicas", {"outcomes": dict(load.outcomes())})
    assert load.failures() == []


def test_a_pod_that_is_killed_is_replaced_where_it_was_alone(served: Served, url: str, row: list[float]) -> None:
    with tools.load(url, row) as load:
        (victim,) = tools.pods_of(STABLE)
        began = load.now()
        tools.kubectl("delete", "pod", "-n", NAMESPACE, victim["metadata"]["name"], "--force", "--grace-period=0")
        eventually(lambda: load.outcomes(since=load.now() - 1) == {"200": load.outcomes(load.now() - 1)["200"]})
        eventually(lambda: tools.readiness(STABLE) == [True])
        load.wait_for(100)
        end = load.now()
    failures = [answer.at - began for answer in load.failures()]
    facts = {"outcomes": dict(load.outcomes()), "failures over, seconds": round(max(failures, default=0.0), 1)}
    tools.report("a pod killed, one replica", facts)
    assert load.outcomes(since=end - 0.5).keys() <= {"200"}


@pytest.fixture
def later(served: Served) -> Iterator[str]:
    """A version that is not deployed, before and after."""
    version = "2.2"
    yield version
    assert tools.sabia("undeploy", MODEL, version, "--quiet", "1").returncode == 0


def test_servers_that_run_do_not_need_the_store_and_one_that_starts_waits_for_it(
    later: str, url: str, row: list[float]
) -> None:
    with tools.load(url, row) as load:
        tools.kubectl("scale", "-n", STORE, "statefulset/minio", "--replicas=0")
        tools.kubectl("wait", "-n", STORE, "pod/minio-0", "--for=delete", "--timeout=60s")
        with tools.background(lambda: tools.sabia("deploy", MODEL, later, "--timeout", "240")) as deploying:
            try:
                eventually(lambda: "storage-initializer" in tools.status().get(later, {}).get("trouble", ""))
                assert not deploying.done()
                load.wait_for(50)
            finally:
                tools.kubectl("scale", "-n", STORE, "statefulset/minio", "--replicas=1")
        done = deploying.result()
    tools.report("the store stopped while servers run", {"outcomes": dict(load.outcomes())})
    assert (done.returncode, done.stdout.strip()) == (0, f"{MODEL} {later}: ready")
    assert load.failures() == []


def test_the_gateways_proxy_is_restarted(served: Served, url: str, row: list[float]) -> None:
    (proxy,) = tools.get("deployments", namespace=GATEWAY_NAMESPACE, selector=GATEWAY_LABEL)["items"]
    name = proxy["metadata"]["name"]
    with tools.load(url, row) as load:
        began = load.now()
        tools.kubectl("rollout", "restart", "-n", GATEWAY_NAMESPACE, f"deployment/{name}")
        tools.kubectl("rollout", "status", "-n", GATEWAY_NAMESPACE, f"deployment/{name}", "--timeout=180s")
        load.wait_for(200)
        end = load.now()
    failures = [answer.at - began for answer in load.failures()]
    facts = {"outcomes": dict(load.outcomes()), "failures over, seconds": round(max(failures, default=0.0), 1)}
    tools.report("the gateway's proxy restarted", facts)
    assert load.outcomes(since=end - 0.5).keys() <= {"200"}
    # One proxy hands over to the next; a connection may be cut in between, an outage may not be.
    assert load.failed() <= 0.02 * len(load.answers)
