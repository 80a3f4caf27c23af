"""Every kind of store that the contract must hold on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sabia.local.objectstore import ObjectStore
from sabia.local.process import Process, free_ports
from sabia.store.errors import StoreError
from sabia.store.objects import Store


@contextmanager
def seaweedfs(folder: Path) -> Iterator[dict[str, str]]:
    """A SeaweedFS server; gives the environment that reaches it."""
    (folder / "logs").mkdir()
    server = ObjectStore(folder / "data", folder / "logs")
    try:
        server.wait_until_ready()
        yield server.access.environment()
    finally:
        server.process.stop(seconds=10)


def minio_binary() -> str | None:
    """The MinIO server, where `MINIO_BIN` or PATH has one."""
    return os.environ.get("MINIO_BIN") or shutil.which("minio")


@contextmanager
def minio(folder: Path) -> Iterator[dict[str, str]]:
    """A MinIO server with the bucket `sabia`; gives the environment that reaches it."""
    binary = minio_binary()
    assert binary is not None
    (folder / "data" / "sabia").mkdir(parents=True)  # a folder in its data is a bucket
    port, console = free_ports(2)
    credentials = {"MINIO_ROOT_USER": "tester", "MINIO_ROOT_PASSWORD": "only-for-this-test"}
    address = [f"--address=127.0.0.1:{port}", f"--console-address=127.0.0.1:{console}"]
    server = Process("minio", [binary, "server", *address, str(folder / "data")], logs=folder, extra=credentials)
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": credentials["MINIO_ROOT_USER"],
        "AWS_SECRET_ACCESS_KEY": credentials["MINIO_ROOT_PASSWORD"],
        "AWS_REGION": "us-east-1",
    }
    try:
        server.wait_until(lambda: _lists(environment), seconds=30)
        yield environment
    finally:
        server.stop(seconds=10)


def _lists(environment: dict[str, str]) -> bool:
    try:
        list(Store.open("s3://sabia", environment=environment).list("nothing/"))
    except StoreError:
        return False
    return True
