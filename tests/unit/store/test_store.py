"""What a store promises, on memory, on files, on SeaweedFS, and on MinIO where there is one."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

from sabia.registry import aliases
from sabia.registry.catalogue import manifests_of, versions
from sabia.registry.claim import publish
from sabia.registry.errors import AliasMoved
from sabia.store.errors import KeyNotFound, KeyTaken, StoreRefused
from sabia.store.objects import LARGE_BYTES, Entry, Store
from tests.drafts import a_draft
from tests.stores import minio, minio_binary, seaweedfs

KINDS = [
    "memory",
    "file",
    pytest.param("seaweedfs", marks=pytest.mark.local),
    pytest.param("minio", marks=pytest.mark.local),
]
WRITERS = 16


@pytest.fixture(scope="module", params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Store]]:
    """Opens stores of one kind, each with a root of its own."""
    folder = tmp_path_factory.mktemp("store")
    if request.param == "memory":
        yield lambda: Store.open("memory://")
    elif request.param == "file":
        yield lambda: Store.open((folder / uuid4().hex).as_uri(), make=True)
    elif request.param == "minio" and minio_binary() is None:
        pytest.skip("no MinIO here: set MINIO_BIN, or have `minio` on PATH")
    else:
        server = seaweedfs if request.param == "seaweedfs" else minio
        with server(folder) as environment:
            yield lambda: Store.open(f"s3://sabia/{uuid4().hex}", environment=environment)


@pytest.fixture
def any_store(opened: Callable[[], Store]) -> Store:
    """An empty store."""
    return opened()


def test_what_was_created_is_read_back(any_store: Store) -> None:
    assert any_store.create("a/b", b"1") is True
    assert any_store.get("a/b") == b"1"


def test_creating_the_same_again_is_success_and_writes_nothing(any_store: Store) -> None:
    """It is what a retry finds when the first answer was lost."""
    any_store.create("a", b"1")
    before = any_store.get_tagged("a")
    assert any_store.create("a", b"1") is False
    assert any_store.get_tagged("a") == before


def test_nothing_is_ever_overwritten(any_store: Store) -> None:
    any_store.create("a", b"1")
    with pytest.raises(KeyTaken):
        any_store.create("a", b"2")
    assert any_store.get("a") == b"1"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that is written and read in pieces; its pieces differ."""
    path = tmp_path / "large"
    path.write_bytes(bytes(range(251)) * (LARGE_BYTES // 251 + 9))
    return path


def test_a_large_file_is_read_back_in_pieces(any_store: Store, large: Path) -> None:
    assert any_store.create_file("a/b", large) is True
    assert b"".join(any_store.pieces("a/b")) == large.read_bytes()
    assert any_store.size("a/b") == large.stat().st_size


def test_creating_a_large_file_again_is_success_and_writes_nothing(any_store: Store, large: Path) -> None:
    any_store.create_file("a", large)
    before = any_store.get_tagged("a").tag
    assert any_store.create_file("a", large) is False
    assert any_store.get_tagged("a").tag == before


@pytest.mark.parametrize("other", [b"short", None], ids=["of another size", "of the same size"])
def test_a_large_file_overwrites_nothing(any_store: Store, large: Path, other: bytes | None) -> None:
    other = other or large.read_bytes()[:-1] + b"?"
    any_store.create("a", other)
    with pytest.raises(KeyTaken):
        any_store.create_file("a", large)
    assert any_store.get("a") == other


def test_a_small_file_is_created_as_its_bytes_are(any_store: Store, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"1")
    assert any_store.create_file("a", tmp_path / "small") is True
    assert any_store.create("a", b"1") is False


def test_pieces_of_a_missing_key_are_not_found(any_store: Store) -> None:
    with pytest.raises(KeyNotFound):
        list(any_store.pieces("missing"))
    with pytest.raises(KeyNotFound):
        any_store.size("missing")


def test_a_swap_replaces_only_what_was_read(any_store: Store) -> None:
    any_store.create("a", b"1")
    read = any_store.get_tagged("a")
    any_store.swap("a", b"2", expected=read)
    with pytest.raises(KeyTaken):
        any_store.swap("a", b"3", expected=read)
    assert any_store.get("a") == b"2"


def test_a_swap_whose_answer_was_lost_is_success(any_store: Store) -> None:
    any_store.create("a", b"1")
    read = any_store.get_tagged("a")
    any_store.swap("a", b"2", expected=read)
    any_store.swap("a", b"2", expected=read)
    assert any_store.get("a") == b"2"


def test_a_missing_key_is_not_found(any_store: Store) -> None:
    with pytest.raises(KeyNotFound):
        any_store.get("missing")


def test_listing_finds_what_lies_under_a_prefix_and_its_size(any_store: Store) -> None:
    for key in ("v/1.1/a", "v/1.1/b/c", "v/1.10/a"):
        any_store.create(key, b"12")
    found = sorted(any_store.list("v/1.1/"), key=lambda entry: entry.key)
    assert found == [Entry("v/1.1/a", 2), Entry("v/1.1/b/c", 2)]
    assert list(any_store.list("w/")) == []


def test_of_many_writers_of_one_key_exactly_one_wins(any_store: Store) -> None:
    barrier = threading.Barrier(WRITERS)

    def write(number: int) -> bool:
        barrier.wait()
        try:
            return any_store.create("race", f"writer {number}".encode())
        except KeyTaken:
            return False

    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(write, range(WRITERS)))
    assert sum(won) == 1
    assert any_store.get("race") == f"writer {won.index(True)}".encode()


def test_publishers_that_race_for_a_number_get_a_number_each(any_store: Store) -> None:
    barrier = threading.Barrier(WRITERS)

    def claim(number: int) -> str:
        barrier.wait()
        return publish(any_store, a_draft("linear", str(number))).manifest.version

    with ThreadPoolExecutor(WRITERS) as pool:
        claimed = list(pool.map(claim, range(WRITERS)))
    assert sorted(claimed, key=lambda text: int(text.split(".")[1])) == [f"1.{minor}" for minor in range(WRITERS)]
    assert len({manifest.digest for manifest in manifests_of(any_store, "toy")}) == WRITERS


def test_publishers_of_the_same_content_get_the_same_number(any_store: Store) -> None:
    barrier = threading.Barrier(WRITERS)

    def claim(number: int) -> str:
        barrier.wait()
        return publish(any_store, a_draft(created_at=f"2026-01-01T00:00:{number:02}Z")).manifest.version

    with ThreadPoolExecutor(WRITERS) as pool:
        claimed = set(pool.map(claim, range(WRITERS)))
    assert claimed == {"1.0"}
    assert len(versions(any_store, "toy")) == 1


def test_of_many_moves_of_one_alias_none_is_lost(any_store: Store) -> None:
    """Each is either in the history or was refused."""
    publish(any_store, a_draft())
    number = versions(any_store, "toy")[0]
    barrier = threading.Barrier(WRITERS)

    def move(at: int) -> str | None:
        barrier.wait()
        try:
            aliases.point(any_store, "toy", "champion", number, at=str(at))
        except AliasMoved:
            return None
        return str(at)

    with ThreadPoolExecutor(WRITERS) as pool:
        moved = {at for at in pool.map(move, range(WRITERS)) if at is not None}
    assert moved
    assert {step.at for step in aliases.history(any_store, "toy", "champion").history} == moved


@pytest.mark.local
def test_a_missing_bucket_is_refused_with_that_reason(tmp_path: Path) -> None:
    with seaweedfs(tmp_path) as environment, pytest.raises(StoreRefused, match="no such bucket"):
        list(Store.open("s3://nothing", environment=environment).list("models/"))


class Mute(threading.Thread):
    """A proxy that forwards every request and drops the response to the first PUT: the write happens unnoticed."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self.swallowed = 0
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def run(self) -> None:
        """Take connections until the listener is closed; one request for each."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.create_connection(self._upstream) as server:
                request = _read_request(client)
                server.sendall(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
                answer = b"".join(iter(lambda: server.recv(65536), b""))
                if request.startswith(b"PUT") and not self.swallowed:
                    self.swallowed += 1
                    continue
                client.sendall(answer)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _read_request(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += client.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int((lengths or [b"0"])[0]):
        body += client.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.mark.local
def test_a_create_whose_answer_the_network_lost_is_success(tmp_path: Path) -> None:
    with seaweedfs(tmp_path) as environment:
        host, port = environment["AWS_ENDPOINT_URL"].removeprefix("http://").split(":")
        proxy = Mute((host, int(port)))
        proxy.start()
        through = environment | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        Store.open("s3://sabia", environment=through).create("a", b"ours")
        assert proxy.swallowed == 1
        assert Store.open("s3://sabia", environment=environment).get("a") == b"ours"
        proxy.close()


def test_a_store_says_that_a_forked_process_cannot_use_it(tmp_path: Path) -> None:
    script = f"""
import os
from sabia.store.objects import Store
store = Store.open({tmp_path.as_uri()!r})
store.create("key", b"value")
child = os.fork()
if child == 0:
    try:
        store.get("key")
    except Exception as error:
        print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == (
        "The store refused reading 'key': this process was forked from one that had used a store, and shares no thread "
        "with it.\n"
    )
