"""What a connection does with bytes: order, bounds, and requests that two servers could read in two ways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.registry.verification import Artifact
from sabia.serving.http.messages import Request, Response
from sabia.serving.process.server import connection_limits, connection_pool
from sabia.serving.settings import Settings
from tests.unit.serving.clients import MODEL, PREDICT, Client, Wire
from tests.unit.serving.test_v1 import error, instances

BODY = instances("1")


def post(body: bytes = BODY, *lines: str, path: str = PREDICT, version: str = "1.1") -> bytes:
    """A request, with more header lines."""
    head = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def chunked(*chunks: bytes, trailers: str = "") -> bytes:
    """A request whose body comes in chunks."""
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + f"0\r\n{trailers}\r\n".encode()


def responses(client: Client, sent: bytes, count: int = 1) -> list[httpx.Response]:
    """The server's bytes in response to these, sent this many times."""

    async def call(wire: Wire) -> list[httpx.Response]:
        wire.writer.write(sent)
        return [await wire.response() for _ in range(count)]

    return client.connected(call)


def test_pipelined_requests_are_answered_in_their_order(client: Client) -> None:
    """The second is predicted in a thread, and the third does not overtake it."""
    many = json.dumps({"instances": [[1.0] * 30] * 2000}).encode()
    assert len(many) > 64 * 1024
    found = responses(client, post() + post(many) + post(b"{}") + post(), 4)
    assert [response.status_code for response in found] == [200, 200, 400, 200]
    assert [len(response.json().get("predictions", [])) for response in found] == [1, 2000, 0, 1]


def test_a_pipelining_client_does_not_hold_up_the_others(client: Client) -> None:
    async def call(connect: Callable[[], Awaitable[Wire]]) -> tuple[float, int]:
        flood, other = await connect(), await connect()
        flood.writer.write(post() * 500)
        other.writer.write(post())
        assert (await other.response()).status_code == 200
        before = client.value("sabia_requests_total", status_class="2xx")
        return before, len([await flood.response() for _ in range(500)])

    before, answered = client.served(call)
    assert before < 100
    assert answered == 500


def test_of_a_block_of_requests_no_more_is_held_than_is_answered_next(client: Client) -> None:
    """Hundreds of pipelined requests are read as they are answered, and each gets its response."""
    calls, most = 400, 0
    pool = connection_pool(client.app, client.settings)
    respond = pool.respond

    def watched(request: Request) -> Response | asyncio.Future[Response]:
        nonlocal most
        most = max(most, pool.held)
        return respond(request)

    pool.respond = watched
    body = instances("1" + " " * 500)

    async def call(connect: Callable[[], Awaitable[Wire]]) -> int:
        wire = await connect()
        wire.writer.write(post(body) * calls)
        return sum([(await wire.response()).status_code == 200 for _ in range(calls)])

    assert client.served(call, pool) == calls
    assert 0 < most < 100 * len(body)


@pytest.mark.parametrize(
    ("last", "status"), [(b"", None), (b"P(ST / HTTP/1.1\r\n\r\n", 400), (post(BODY, "Connection: close"), 200)]
)
def test_a_block_of_requests_may_end_with_anything(client: Client, last: bytes, status: int | None) -> None:
    calls = 300

    async def call(wire: Wire) -> tuple[list[int], int | None, bool]:
        wire.writer.write(post() * calls + last)
        wire.writer.write_eof()
        found = [(await wire.response()).status_code for _ in range(calls)]
        end = None if status is None else (await wire.response()).status_code
        return found, end, await wire.closed()

    assert client.connected(call) == ([200] * calls, status, True)


@pytest.mark.slow
@given(cuts=st.lists(st.integers(1, 700), max_size=12), count=st.integers(1, 3))
def test_it_does_not_matter_how_the_bytes_are_cut(logistic: Artifact, cuts: list[int], count: int) -> None:
    sent = post() * count

    async def call(wire: Wire) -> list[int]:
        start = 0
        for cut in [*sorted(set(cuts)), len(sent)]:
            wire.writer.write(sent[start:cut])
            await wire.writer.drain()
            await asyncio.sleep(0)
            start = max(start, cut)
        return [(await wire.response()).status_code for _ in range(count)]

    assert Client(logistic).connected(call) == [200] * count


def test_a_body_in_chunks_is_read(client: Client) -> None:
    (found,) = responses(client, chunked(BODY[:5], BODY[5:6], BODY[6:]))
    assert found.status_code == 200


def test_trailers_change_nothing(client: Client) -> None:
    trailers = "Content-Type: text/plain\r\nContent-Encoding: gzip\r\nHost: other\r\n"
    (found,) = responses(client, chunked(BODY, trailers=trailers))
    assert found.status_code == 200


SIZE = b"\r\n\r\n%x\r\n" % len(BODY)
AMBIGUOUS = {
    "two lengths": post(BODY, f"Content-Length: {len(BODY)}"),
    "two lengths that differ": post(BODY, "Content-Length: 1"),
    "a length and a transfer encoding": post(BODY, "Transfer-Encoding: chunked"),
    "a transfer encoding that ends otherwise": post(b"", "Transfer-Encoding: chunked, identity"),
    "a transfer encoding in disguise": post(BODY, "Transfer-Encoding : chunked"),
    "an unknown transfer encoding": chunked(BODY).replace(b"chunked", b"xchunked"),
    "a negative length": post(BODY).replace(b"Content-Length: ", b"Content-Length: -"),
    "a length with a sign": post(BODY).replace(b"Content-Length: ", b"Content-Length: +"),
    "a length that overflows": post(BODY, "X: y").replace(str(len(BODY)).encode(), b"9" * 40),
    "a hexadecimal length": post(BODY).replace(b"Content-Length: ", b"Content-Length: 0x"),
    "a chunk size that overflows": chunked(BODY).replace(
        b"\r\n\r\n%x\r\n" % len(BODY), b"\r\n\r\nfffffffffffffffff\r\n"
    ),
    "a chunk size that is none": chunked(BODY).replace(b"\r\n\r\n%x\r\n" % len(BODY), b"\r\n\r\nzz\r\n"),
    "a chunk without its end": chunked(BODY).replace(BODY + b"\r\n", BODY + b"xx"),
    "bare line feeds": post(BODY).replace(b"\r\n", b"\n"),
    "a carriage return in a value": post(BODY, "X: a\rb"),
    "a null in a value": post(BODY, "X: a\0b"),
    "a folded header": post(BODY, "X: a\r\n b"),
    "a space before the colon": post(BODY).replace(b"Host: x", b"Host : x"),
    "two hosts": post(BODY, "Host: y"),
    "no host": post(BODY).replace(b"Host: x\r\n", b""),
    "two types": post(BODY, "Content-Type: application/json", "Content-Type: text/plain"),
    "no version": post(BODY).replace(b" HTTP/1.1", b""),
    "an unknown version": post(BODY).replace(b"HTTP/1.1", b"HTTP/9.9"),
    "a method that is none": post(BODY).replace(b"POST ", b"P(ST "),
    "a space in the target": post(BODY, path=f"{PREDICT} /x"),
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
}


@pytest.mark.parametrize("what", AMBIGUOUS)
def test_an_ambiguous_request_is_refused_and_nothing_after_it_is_read(client: Client, what: str) -> None:
    """No request is smuggled in behind another: the error response is the last of its connection."""

    async def call(wire: Wire) -> tuple[httpx.Response, bool]:
        wire.writer.write(AMBIGUOUS[what] + post())
        response = await wire.response()
        wire.writer.write_eof()
        return response, await wire.closed()

    response, closed = client.connected(call)
    assert response.status_code == 400
    assert error(response)
    assert response.headers["connection"] == "close"
    assert closed
    assert client.value("sabia_requests_total", status_class="2xx") == 0


@pytest.mark.parametrize(
    "sent",
    [
        post(BODY, "X: " + "x" * 40_000),
        post(BODY, *(f"X{at}: y" for at in range(200))),
        post(BODY, path="/" + "x" * 40_000),
        post(BODY).replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 1_000_000),
        chunked(BODY, trailers="X: " + "x" * 1_000_000 + "\r\n"),
        chunked(BODY).replace(SIZE, b"\r\n\r\n%x;%b\r\n" % (len(BODY), b"x" * 1_000_000)),
    ],
    ids=["a header", "many headers", "a target", "an endless header", "an endless trailer", "an extension of a chunk"],
)
def test_a_head_that_goes_on_and_on_is_a_431(client: Client, sent: bytes) -> None:
    (found,) = responses(client, sent)
    assert found.status_code == 431
    assert error(found)
    assert client.value("sabia_connections_refused_total", reason="HeadTooLarge") == 1


def test_http_1_0_is_answered_and_closed_unless_it_asks_to_stay(client: Client) -> None:
    async def call(wire: Wire) -> tuple[str, str, bool]:
        wire.writer.write(post(BODY, "Connection: keep-alive", version="1.0") + post(BODY, version="1.0"))
        first, second = await wire.response(), await wire.response()
        return first.headers["connection"], second.headers["connection"], await wire.closed()

    assert client.connected(call) == ("keep-alive", "close", True)


def test_a_half_closed_client_gets_its_response(client: Client) -> None:
    """It still reads. Also when the response is made in a thread."""
    for body in (BODY, json.dumps({"instances": [[1.0] * 30] * 2000}).encode()):

        async def call(wire: Wire, body: bytes = body) -> tuple[int, bool]:
            wire.writer.write(post(body))
            wire.writer.write_eof()
            return (await wire.response()).status_code, await wire.closed()

        assert client.connected(call) == (200, True)


def test_a_client_that_stops_in_the_middle_is_disconnected(client: Client) -> None:
    async def call(wire: Wire) -> bool:
        wire.writer.write(post()[:-5])
        wire.writer.write_eof()
        return await wire.closed()

    assert client.connected(call)


@pytest.mark.parametrize("what", ["Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", "Upgrade: websocket"])
def test_a_request_to_upgrade_is_answered_as_http_1_1(client: Client, what: str) -> None:
    """Some clients ask for HTTP/2 with their first request, and send its body all the same."""
    first = post(BODY, "Connection: Upgrade, HTTP2-Settings", what)
    found = responses(client, first + post(), 2)
    assert [response.status_code for response in found] == [200, 200]


def test_a_tunnel_is_refused(client: Client) -> None:
    (found,) = responses(client, b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n")
    assert found.status_code == 400


def test_leave_to_send_is_given_when_it_is_asked_for(client: Client) -> None:
    async def call(wire: Wire) -> tuple[bytes, int]:
        head, body = post(BODY, "Expect: 100-continue").split(b"\r\n\r\n")
        wire.writer.write(head + b"\r\n\r\n")
        leave = await wire.reader.readuntil(b"\r\n\r\n")
        wire.writer.write(body)
        return leave, (await wire.response()).status_code

    assert client.connected(call) == (b"HTTP/1.1 100 Continue\r\n\r\n", 200)


def test_a_head_request_gets_the_head_alone(client: Client) -> None:
    async def call(wire: Wire) -> tuple[httpx.Response, httpx.Response]:
        wire.writer.write(b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        return await wire.response(head=True), await wire.response()

    head, get = client.connected(call)
    assert head.headers["content-length"] == get.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize(
    ("sent", "status"),
    [(post()[:-5], 408), (post()[:20], 408), (b"", None), (post(), 200)],
    ids=["half a body", "half a head", "nothing", "a call, and then nothing"],
)
def test_a_client_that_stalls_is_cut_off(logistic: Artifact, sent: bytes, status: int | None) -> None:
    client = Client(logistic, replace(Settings(), read_timeout_seconds=0.1, idle_timeout_seconds=0.1))

    async def call(wire: Wire) -> tuple[int | None, bool]:
        wire.writer.write(sent)
        found = None if status is None else (await wire.response()).status_code
        return found, await wire.closed()

    assert client.connected(call) == (status, True)


def test_a_connection_is_kept_for_longer_than_a_proxy_keeps_it() -> None:
    envoy_keeps_seconds = 3600  # the default of HttpProtocolOptions.idle_timeout
    assert connection_limits(Settings()).idle_seconds > envoy_keeps_seconds


def test_a_client_that_never_reads_its_responses_is_cut_off(logistic: Artifact) -> None:
    client = Client(logistic, replace(Settings(), read_timeout_seconds=0.1))
    sent = post(json.dumps({"instances": [[1.0] * 30] * 1000}).encode())

    async def call(wire: Wire) -> bool:
        try:
            while True:
                wire.writer.write(sent)
                await wire.writer.drain()
        except ConnectionError:
            return True

    assert client.connected(call)


def test_bodies_of_all_clients_together_have_a_bound_and_room_comes_back(logistic: Artifact) -> None:
    client = Client(logistic, replace(Settings(), max_held_bytes=50_000))

    async def call(connect: Callable[[], Awaitable[Wire]]) -> list[int]:
        halves = [await connect() for _ in range(2)]
        for half in halves:
            half.writer.write(post(b" " * 40_000)[:-100])
        refused = await halves[1].response()
        assert error(refused)
        assert refused.headers["retry-after"] == "1"
        small = await connect()
        small.writer.write(post(BODY))
        read_all_the_same = await small.response()
        large = await connect()
        large.writer.write(post(b" " * 40_000))
        also_refused = await large.response()
        halves[0].writer.close()
        found = []
        for _ in range(20):  # each gives its room back
            wire = await connect()
            wire.writer.write(post(BODY + b" " * 40_000))
            found.append((await wire.response()).status_code)
        return [refused.status_code, read_all_the_same.status_code, also_refused.status_code, *found]

    assert client.served(call) == [503, 200, 503, *[200] * 20]
    assert client.value("sabia_connections_refused_total", reason="Overloaded") == 2


def test_when_there_are_too_many_the_most_expendable_makes_room(logistic: Artifact) -> None:
    """First the one that is idle longest, then the one that began a request first; never one that is being answered."""
    client = Client(logistic, replace(Settings(), max_connections=3, faults="delay=500ms"))

    async def call(connect: Callable[[], Awaitable[Wire]]) -> list[bool]:
        answered, begun, idle = [await connect() for _ in range(3)]
        answered.writer.write(post())
        begun.writer.write(post()[:-5])
        await asyncio.sleep(0.05)
        first = await connect()
        gone = [await idle.closed()]
        first.writer.write(post()[:-5])
        await asyncio.sleep(0.05)
        await connect()
        gone.append(await begun.closed())
        return [*gone, (await answered.response()).status_code == 200]

    assert client.served(call) == [True, True, True]
    assert client.value("sabia_connections_refused_total", reason="IdleConnection") == 2


def test_when_all_are_being_answered_a_new_one_gets_a_503(logistic: Artifact) -> None:
    client = Client(logistic, replace(Settings(), max_connections=2, faults="delay=500ms"))

    async def call(connect: Callable[[], Awaitable[Wire]]) -> tuple[int, str]:
        for wire in [await connect() for _ in range(2)]:
            wire.writer.write(post())
        await asyncio.sleep(0.05)
        refused = await (await connect()).response()
        return refused.status_code, refused.headers["retry-after"]

    assert client.served(call) == (503, "1")


def test_every_response_has_a_date(client: Client) -> None:
    (found,) = responses(client, post())
    assert found.headers["date"].endswith(" GMT")


@pytest.mark.parametrize(
    "path",
    [f"/v1/models/{MODEL}%3Apredict", f"/v1/models/{MODEL}:predict?verbose=1", f"/v1/models/{MODEL[:-1]}%72:predict"],
)
def test_a_target_may_be_escaped_and_have_a_query(client: Client, path: str) -> None:
    (found,) = responses(client, post(path=path))
    assert found.status_code == 200


@pytest.mark.slow
@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_break_a_connection(logistic: Artifact, noise: bytes, headed: bool) -> None:
    """The server responds or closes, and serves the next client."""
    client = Client(logistic)
    sent = (b"POST / HTTP/1.1\r\n" if headed else b"") + noise

    async def call(wire: Wire) -> bytes:
        wire.writer.write(sent)
        wire.writer.write_eof()
        return await wire.reader.read()

    said = client.connected(call)
    assert b" 500 " not in said
    assert client.predict(BODY).status_code == 200
