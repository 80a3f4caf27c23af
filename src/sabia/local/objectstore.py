"""The embedded object store: SeaweedFS, one process, on loopback, with keys made for this run."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from sabia.contract.layout import MODELS
from sabia.kubernetes.programs import installed
from sabia.local.process import Process, remembered_ports
from sabia.store.errors import StoreError
from sabia.store.objects import Store

BUCKET = "sabia"
REGION = "us-east-1"
# The smallest of this many objects is read.
_SOME = 50


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach an S3 store. The secret is not shown by repr."""

    endpoint: str
    key: str
    secret: str = field(repr=False)

    @property
    def url(self) -> str:
        """The store's URL, for `sabia.store.objects.Store`."""
        return f"s3://{BUCKET}"

    def open(self) -> Store:
        """The store itself."""
        return Store.open(self.url, environment=self.environment())

    def environment(self) -> dict[str, str]:
        """The standard names, as the AWS tools and `sabia.store.objects.Store` read them."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }


class ObjectStore:
    """A SeaweedFS server that keeps its objects in `data`."""

    def __init__(self, data: Path, logs: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)  # it panics on a folder that is not there
        ports = remembered_ports(10, data.parent / f"{data.name}.ports")
        self.access = Access(
            endpoint=f"http://127.0.0.1:{ports[0]}", key=secrets.token_hex(8), secret=secrets.token_hex(24)
        )
        self.process = Process(
            "seaweedfs",
            [installed("weed", extra="local"), *_arguments(data, ports)],
            logs=logs,
            extra={"AWS_ACCESS_KEY_ID": self.access.key, "AWS_SECRET_ACCESS_KEY": self.access.secret},
        )

    def wait_until_ready(self, *, seconds: float = 30) -> None:
        """Wait until it has its bucket, which it makes a moment after it listens, and reads what an earlier run wrote.

        After a restart it lists objects before it has found the volumes that hold them.
        """
        self.process.wait_until(self._reads, seconds=seconds)

    def _reads(self) -> bool:
        store = self.access.open()
        try:
            smallest = min(islice(store.list(f"{MODELS}/"), _SOME), key=lambda entry: entry.size, default=None)
            if smallest is not None:
                store.get(smallest.key)
        except StoreError:
            return False
        return True


def _arguments(data: Path, ports: list[int]) -> list[str]:
    # Telemetry is on and every interface is bound unless told otherwise; what is not needed is turned off.
    s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc, admin, admin_grpc = ports
    return [
        "mini",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.port={s3}",
        f"-s3.port.grpc={s3_grpc}",
        f"-master.port={master}",
        f"-master.port.grpc={master_grpc}",
        f"-volume.port={volume}",
        f"-volume.port.grpc={volume_grpc}",
        f"-filer.port={filer}",
        f"-filer.port.grpc={filer_grpc}",
        f"-admin.port={admin}",
        f"-admin.port.grpc={admin_grpc}",
        f"-bucket={BUCKET}",
    ]
