"""Nothing that a client sends is the version's fault, and no client chooses whether its request is compared."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.registry.verification import Artifact
from sabia.serving.process.server import listen
from sabia.serving.protocols.grpc import start
from sabia.serving.protocols.messages import SERVICE
from sabia.serving.settings import Settings, address
from tests.unit.serving import test_grpc
from tests.unit.serving.clients import INFER, JSON, MODEL, PREDICT, Client, Wire
from tests.unit.serving.test_connections import post
from tests.unit.serving.test_v1 import error, instances
from tests.unit.serving.test_v2 import ONES, request, tensor

BODY = instances("1")
TIMEOUTS = [
    "x-request-timeout-ms",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "grpc-timeout",
]
Connect = Callable[[], Awaitable[Wire]]


def slow(artifact: Artifact, delay: str = "80ms", *, behind_gateway: bool = False) -> Client:
    """A version whose every prediction takes this long."""
    return Client(artifact, replace(Settings(), faults=f"delay={delay}", behind_gateway=behind_gateway))


def classes(client: Client, route: str = "split") -> dict[str, float]:
    """Requests by status class, of those that there are."""
    named = ("2xx", "3xx", "4xx", "5xx", "deadline")
    labels = {"model": MODEL, "version": "2.0", "route": route}
    counts = {name: client.sample("sabia_requests_total", labels | {"status_class": name}) for name in named}
    return {name: count for name, count in counts.items() if count}


# -- deadlines ---------------------------------------------------------------------------------------------------------


def test_a_missed_deadline_of_the_client_is_its_own_class_and_no_failure(logistic: Artifact) -> None:
    client = slow(logistic)
    found = client.predict(BODY, JSON | {"x-request-timeout-ms": "3"})
    assert (found.status_code, error(found)) == (408, "The call took longer than its client allows.")
    assert classes(client) == {"deadline": 1}
    assert client.value("sabia_request_duration_seconds_count") == 0, "its duration is the client's choice"


def test_a_client_cannot_hide_how_long_its_prediction_takes(logistic: Artifact) -> None:
    """Cut off, slow predictions would be missing among the times of the slower version alone."""
    client = slow(logistic, delay="500ms")

    async def call(connect: Connect) -> float:
        wire = await connect()
        wire.writer.write(post(BODY, "x-request-timeout-ms: 250"))
        await wire.response()
        for _ in range(1000):
            if client.value("sabia_decision_duration_seconds_count"):
                break
            await asyncio.sleep(0.01)
        return client.value("sabia_decision_duration_seconds_sum")

    assert client.served(call) > 0.45
    assert sum(client.value("sabia_predictions_total", bin=str(at)) for at in range(20)) == 1


@pytest.mark.parametrize("name", TIMEOUTS[1:])
def test_a_server_without_a_gateway_believes_no_gateways_deadline(logistic: Artifact, name: str) -> None:
    client = slow(logistic)
    assert client.predict(BODY, JSON | {name: "3"}).status_code == 200
    assert classes(client) == {"2xx": 1}


def test_the_gateways_own_deadline_is_the_versions_failure(logistic: Artifact) -> None:
    client = slow(logistic, behind_gateway=True)
    assert client.predict(BODY, JSON | {"x-envoy-expected-rq-timeout-ms": "3"}).status_code == 504
    assert classes(client) == {"5xx": 1}


def test_of_two_deadlines_the_one_that_ends_the_request_says_whose_it_is(logistic: Artifact) -> None:
    client = slow(logistic, behind_gateway=True)
    gateway, own = "x-envoy-expected-rq-timeout-ms", "x-request-timeout-ms"
    assert client.predict(BODY, JSON | {gateway: "10", own: "3"}).status_code == 408
    assert client.predict(BODY, JSON | {gateway: "3", own: "10"}).status_code == 504


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.sampled_from(TIMEOUTS),
            st.one_of(st.integers(-1, 10**12).map(str), st.text("0123456789eE+-.smun ", max_size=12)),
        ),
        max_size=4,
    )
)
def test_no_header_of_a_client_makes_a_slow_version_fail(logistic: Artifact, headers: list[tuple[str, str]]) -> None:
    client = slow(logistic, delay="2ms")
    found = client.predict(BODY, JSON | dict(headers))
    assert found.status_code in (200, 408)
    assert "5xx" not in classes(client)
    assert client.value("sabia_request_duration_seconds_count") == (found.status_code == 200)


def test_a_deadline_of_grpc_is_the_clients(logistic: Artifact) -> None:
    client = slow(logistic, delay="300ms")

    async def call(channel: grpc.aio.Channel) -> grpc.StatusCode | None:
        raw = test_grpc.request().SerializeToString()
        code = None
        try:
            await channel.unary_unary(f"/{SERVICE}/ModelInfer")(raw, timeout=0.1)
        except grpc.aio.AioRpcError as caught:
            code = caught.code()
        for _ in range(200):
            if classes(client):
                break
            await asyncio.sleep(0.01)
        return code

    assert test_grpc.served(logistic, call, client) == grpc.StatusCode.DEADLINE_EXCEEDED
    assert classes(client) == {"deadline": 1}


# -- where a request came from -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["a-shadow", "any.example.com-shadow:80", "a:80-shadow", "[::1]-shadow"])
def test_a_client_cannot_have_its_request_taken_for_a_mirrored_copy(client: Client, host: str) -> None:
    assert client.predict(BODY, JSON | {"host": host}).status_code == 200
    assert classes(client) == {"2xx": 1}
    assert classes(client, "mirror") == {}


@pytest.mark.parametrize("host", ["a-shadow", "any.example.com-shadow:80", "[::1]:8080-shadow", "[::1]-shadow:8080"])
def test_the_gateways_copies_are_not_compared(logistic: Artifact, host: str) -> None:
    client = Client(logistic, Settings(behind_gateway=True))
    assert client.predict(BODY, JSON | {"host": host}).status_code == 200
    assert (classes(client), classes(client, "mirror")) == ({}, {"2xx": 1})


@pytest.mark.parametrize("version", ["9.9", "", "2.0, 2.0", "1.2-baseline", "2.0-Baseline", "x" * 300])
@pytest.mark.parametrize("behind_gateway", [False, True])
def test_a_pin_on_another_version_is_refused_and_not_compared(
    logistic: Artifact, version: str, *, behind_gateway: bool
) -> None:
    client = Client(logistic, Settings(behind_gateway=behind_gateway))
    found = client.predict(BODY, JSON | {"x-model-version": version})
    assert found.status_code == 404
    assert error(found).endswith("is not served here; 2.0 is.")
    assert (classes(client), classes(client, "pin")) == ({}, {"4xx": 1})


@pytest.mark.parametrize("version", ["2.0", "2.0-baseline"])
def test_a_pin_on_the_version_or_its_baseline_is_answered_and_not_compared(client: Client, version: str) -> None:
    assert client.predict(BODY, JSON | {"x-model-version": version}).status_code == 200
    assert client.predict(b"{}", JSON | {"x-model-version": version}).status_code == 400
    assert client("GET", INFER, headers={"x-model-version": version}).status_code == 405
    assert (classes(client), classes(client, "pin")) == ({}, {"2xx": 1, "4xx": 2})


@pytest.mark.parametrize("path", [f"/v2/models/{MODEL}/versions/2.0/infer", f"/v2/models/{MODEL}/versions/2%2e0/infer"])
def test_a_path_that_names_the_version_is_a_pin(client: Client, path: str) -> None:
    assert client("POST", path, request(tensor(ONES)), JSON).status_code == 200
    assert (classes(client), classes(client, "pin")) == ({}, {"2xx": 1})


@pytest.mark.parametrize(("version", "expected"), [("2.0", {"2xx": 1}), ("1.2", {"4xx": 1})])
def test_a_version_in_a_grpc_request_is_a_pin(client: Client, version: str, expected: dict[str, int]) -> None:
    test_grpc.infer(client.artifact, test_grpc.request(model_version=version), client)
    assert (classes(client), classes(client, "pin")) == ({}, expected)


# -- what a client of gRPC can join ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "status"), [({}, grpc.StatusCode.OK), ({"model_name": "x"}, grpc.StatusCode.NOT_FOUND)]
)
@pytest.mark.parametrize("given_id", ["mine", None])
def test_a_response_of_grpc_names_the_request_and_the_version(
    client: Client, changed: dict[str, str], status: grpc.StatusCode, given_id: str | None
) -> None:
    async def call(channel: grpc.aio.Channel) -> tuple[grpc.StatusCode, dict[str, str]]:
        metadata = (("x-request-id", given_id),) if given_id else ()
        raw = test_grpc.request(**changed).SerializeToString()
        asked = channel.unary_unary(f"/{SERVICE}/ModelInfer")(raw, metadata=metadata)
        return await asked.code(), dict(await asked.trailing_metadata())

    code, metadata = test_grpc.served(client.artifact, call, client)
    assert (code, metadata["x-model-version"]) == (status, "2.0")
    assert metadata["x-request-id"] == given_id if given_id else metadata["x-request-id"]


@pytest.mark.parametrize("host", ["::", "::1", "127.0.0.1", "0.0.0.0"])
def test_every_form_of_an_address_is_listened_on(logistic: Artifact, host: str) -> None:
    target = "::1" if ":" in host else "127.0.0.1"
    with listen(Settings(host=host, http_port=0)) as listener:
        socket.create_connection((target, listener.getsockname()[1]), timeout=5).close()
        if host == "::":
            socket.create_connection(("127.0.0.1", listener.getsockname()[1]), timeout=5).close()
    client = Client(logistic)

    async def run() -> bytes:
        server = await start(client.app, replace(client.settings, host=host, grpc_port=0))
        try:
            async with grpc.aio.insecure_channel(address(target, server.port)) as channel:
                return bytes(await channel.unary_unary(f"/{SERVICE}/ServerLive")(b"", timeout=10))
        finally:
            await server.stop(0)

    assert asyncio.run(run()) == b"\x08\x01"


# -- RFC 9112 ----------------------------------------------------------------------------------------------------------


def sent(client: Client, *lines: str, target: str = PREDICT, body: bytes = BODY, version: str = "1.1") -> int:
    """The status of a request that is written by hand; 100 where the server asks for the body first."""
    head = "\r\n".join([f"POST {target} HTTP/{version}", "Host: x", *lines])

    async def call(wire: Wire) -> int:
        wire.writer.write(head.encode() + b"\r\n\r\n" + body)
        return int((await wire.reader.readuntil(b"\r\n")).split(b" ")[1])

    return client.connected(call)


LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.mark.parametrize("before", ["http://x", "HTTP://x:80", "https://any.example.com"])
def test_a_target_in_absolute_form_is_its_path(client: Client, before: str) -> None:
    assert sent(client, LENGTH, target=f"{before}{PREDICT}") == 200
    assert sent(client, LENGTH, target=f"{before}/v1/models/other:predict") == 404


@pytest.mark.parametrize(
    ("version", "expected", "status"),
    [("1.1", "100-continue", 100), ("1.1", "100-Continue", 100), ("1.1", "200-ok", 417), ("1.0", "100-continue", 200)],
)
def test_an_expectation_is_met_or_refused(client: Client, version: str, expected: str, status: int) -> None:
    assert sent(client, LENGTH, f"Expect: {expected}", version=version) == status


@pytest.mark.parametrize(
    ("coding", "status"),
    [("chunked", 200), ("Chunked", 200), ("gzip, chunked", 501), ("gzip", 400), ("chunked, gzip", 400), ("x", 400)],
)
def test_a_transfer_coding_is_chunked_or_refused(client: Client, coding: str, status: int) -> None:
    assert sent(client, f"Transfer-Encoding: {coding}", body=CHUNKED) == status
    assert "5xx" not in classes(client)
