"""A predictor as a pod would run it: the storage initializer first, then the container's args, env and probes."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

from sabia.kubernetes.specs import PredictorSpec
from sabia.local.errors import DownloadFailed, ProcessFailed
from sabia.local.objectstore import Access
from sabia.local.process import Process, answers, free_ports

_DOWNLOAD_SECONDS = 60.0
# Shorter than in a pod: a person who tries things out wants to see their log soon.
_LOG_SECONDS = 2.0


class PredictorServer:
    """One version's server.

    The command is the image's; args and env are the manifest's. What differs on one machine is set through the
    predictor's own environment: the folder of the files, and the address to listen on.
    """

    def __init__(self, spec: PredictorSpec, *, folder: Path, logs: Path, access: Access) -> None:
        self.spec = spec
        self._folder = folder / spec.name
        self._logs = logs
        self._access = access
        self._download: Process | None = None
        self._replicas: list[Process] = []
        self.ports: list[int] = []

    @property
    def urls(self) -> list[str]:
        """The URLs of the replicas, past the gateway."""
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    @property
    def url(self) -> str:
        """The URL of the first replica."""
        return self.urls[0]

    @property
    def replicas(self) -> list[Process]:
        """The servers."""
        return list(self._replicas)

    @property
    def processes(self) -> list[Process]:
        """Its processes that run now."""
        return [*([self._download] if self._download is not None else []), *self._replicas]

    def download(self) -> None:
        """Start the storage initializer, into an empty folder as a pod's is."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        # As KServe's controller sets them from the Secret's annotations.
        extra = self._access.environment() | {
            "S3_ENDPOINT": self._access.endpoint.removeprefix("http://"),
            "S3_USE_HTTPS": "0",
            "S3_VERIFY_SSL": "0",
        }
        command = [sys.executable, "-P", "-m", "sabia", "fetch", self.spec.storage_uri, str(self._folder)]
        self._download = Process(f"{self.spec.name}-storage", command, logs=self._logs, extra=extra)

    def start(self) -> None:
        """Wait for the storage initializer and start the predictor.

        Raises:
            DownloadFailed: the version could not be fetched.
        """
        if self._download is None:
            raise RuntimeError("download() comes before start()")
        try:
            status = self._download.wait(seconds=_DOWNLOAD_SECONDS)
        except ProcessFailed as error:
            raise DownloadFailed(self.spec.storage_uri, str(error)) from error
        if status != 0:
            raise DownloadFailed(self.spec.storage_uri, self._download.last_lines())
        self._download = None
        self.ports = free_ports(self.spec.replicas)
        command = [sys.executable, "-P", "-m", "sabia", "serve", *self.spec.args]
        for number, port in enumerate(self.ports):
            name = self.spec.name if number == 0 else f"{self.spec.name}-{number}"
            extra = self.spec.env | {
                "SABIA_SOURCE": str(self._folder),
                "SABIA_HOST": "127.0.0.1",
                "SABIA_HTTP_PORT": str(port),
                "SABIA_BEHIND_GATEWAY": "true",
                **self._log(name),
            }
            self._replicas.append(Process(name, command, logs=self._logs, extra=extra))

    def _log(self, name: str) -> dict[str, str]:
        """The settings of the inference log, which is kept in the store of the versions."""
        return self._access.environment() | {
            "SABIA_LOG": self._access.url,
            "SABIA_LOG_SERVER": name,
            "SABIA_LOG_SECONDS": str(_LOG_SECONDS),
            "SABIA_LOG_SPOOL": str(self._folder.with_name("spool")),
        }

    def wait_until_ready(self) -> None:
        """Poll as the startup probe does, within its time.

        Raises:
            ProcessFailed: it ended, or was not ready in time.
        """
        if not self._replicas:
            raise RuntimeError("start() comes before wait_until_ready()")
        probe = self.spec.startup
        for process, url in zip(self._replicas, self.urls, strict=True):
            process.wait_until(
                partial(answers, f"{url}{probe.path}", seconds=probe.timeout), seconds=probe.period * probe.failures
            )
