"""Envoy as a child process: its routes, and its counters."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from sabia.kubernetes.programs import installed
from sabia.kubernetes.specs import PredictorSpec, RouteSpec
from sabia.local import gateway
from sabia.local.errors import NotConfirmed
from sabia.local.process import Process, answers, free_ports

_CONFIRM_SECONDS = 10.0
_POLL = 0.01
_LOCK_FILE = "routes.lock"
_ASIDE_STAT = gateway.ASIDE.replace(".", "_")


class Gateway:
    """A running Envoy, through the files that it watches and its admin page."""

    def __init__(self, *, folder: Path, port: int, admin_port: int) -> None:
        self.folder = folder
        self.port = port
        self.admin_port = admin_port

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def admin(self) -> str:
        """The URL of the admin page."""
        return f"http://127.0.0.1:{self.admin_port}"

    def apply(self, route: RouteSpec) -> None:
        """Put the route of one model into force, and return once Envoy uses it. Those of other models stay.

        Raises:
            NotConfirmed: Envoy did not use it within ten seconds.
        """
        # Engines of other models write the same file; the lock lasts until Envoy confirms what was written.
        with (self.folder / _LOCK_FILE).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            document = gateway.replaced(self._routes(), route)
            _replace(self.folder / gateway.ROUTES_FILE, document)
            deadline = time.monotonic() + _CONFIRM_SECONDS
            while self.version_in_force() != document["version_info"]:
                if time.monotonic() > deadline:
                    raise NotConfirmed(_CONFIRM_SECONDS)
                time.sleep(_POLL)

    def weights(self, route: str) -> dict[str, int]:
        """The weights of a route as last applied, by Service name."""
        return gateway.weights_of(self._routes(), route)

    def mirrors(self, route: str) -> list[str]:
        """The Services that requests of a route are mirrored to, as last applied."""
        return gateway.mirrors_of(self._routes(), route)

    def _routes(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / gateway.ROUTES_FILE).read_bytes())
        return document

    def version_in_force(self) -> str | None:
        """The version of the routes that Envoy uses, or None while it has none or does not respond."""
        try:
            answer = requests.get(f"{self.admin}/config_dump?resource=dynamic_route_configs", timeout=2)
            configs: list[dict[str, Any]] = answer.json().get("configs", [])
        except (requests.RequestException, ValueError):
            return None
        return next((str(config.get("version_info")) for config in configs), None)

    def request_counts(self) -> dict[str, int]:
        """Requests that each Service was sent since Envoy started, by Service name; pins and copies count too."""
        found: dict[str, int] = {}
        for (service, _), count in self._counters("upstream_rq_total").items():
            name = service.removesuffix(_ASIDE_STAT)
            found[name] = found.get(name, 0) + count
        return found

    def outcomes(self) -> dict[str, tuple[int, int]]:
        """By Service, requests that the weights sent it and that ended with 2xx or 5xx, and those with 5xx.

        A request that never reached a server ends with a 5xx of Envoy's own, and counts.
        """
        # Envoy makes a counter of a class when it first counts one; the total is always there.
        counted = self._counters("upstream_rq_(total|2xx|5xx)")
        found = {}
        for service in {service for service, _ in counted if not service.endswith(_ASIDE_STAT)}:
            failed = counted.get((service, "upstream_rq_5xx"), 0)
            found[service] = (counted.get((service, "upstream_rq_2xx"), 0) + failed, failed)
        return found

    def _counters(self, pattern: str) -> dict[tuple[str, str], int]:
        """Counters whose name matches, by cluster and name."""
        answer = requests.get(f"{self.admin}/stats?format=json&filter=^cluster\\.[^.]*\\.{pattern}$", timeout=5)
        answer.raise_for_status()
        counters = [item for item in answer.json()["stats"] if "name" in item]
        return {(item["name"].split(".")[1], item["name"].split(".")[2]): int(item["value"]) for item in counters}


class Envoy:
    """The gateway's process.

    Args:
        folder: the folder of its files.
        backends: the predictor behind each Service, and the ports of its replicas.
        routes: the first ones, one for each model.
    """

    def __init__(
        self,
        folder: Path,
        logs: Path,
        *,
        backends: Mapping[str, tuple[PredictorSpec, Sequence[int]]],
        routes: Sequence[RouteSpec],
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port, admin_port = free_ports(2)
        self.gateway = Gateway(folder=folder, port=port, admin_port=admin_port)
        _replace(folder / gateway.CLUSTERS_FILE, gateway.clusters(backends))
        _replace(folder / gateway.ROUTES_FILE, gateway.routes(routes))
        configuration = folder / "bootstrap.json"
        _replace(configuration, gateway.bootstrap(port=port, admin_port=admin_port, folder=folder))
        command = [
            installed("envoy", extra="local"),
            "-c",
            str(configuration),
            "--disable-hot-restart",
            "--log-level",
            "warning",
        ]
        self.process = Process("envoy", [*command, "--concurrency", "1"], logs=logs)

    def wait_until_ready(self, *, seconds: float = 30) -> None:
        """Wait until it has its routes, and its clusters have passed their health checks."""
        self.process.wait_until(lambda: answers(f"{self.gateway.admin}/ready"), seconds=seconds)


def _replace(path: Path, document: Mapping[str, Any]) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(document, indent=1))
    draft.replace(path)
