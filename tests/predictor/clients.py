"""A client that calls the application without a socket, and the bodies that tests send."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from artifacts import Artifact
from predictor.app import App
from predictor.config import Config
from predictor.decision import Decision
from predictor.model import Predictor

MODEL = "breast-cancer"
PREDICT = f"/v1/models/{MODEL}:predict"
EXPLAIN = f"/v1/models/{MODEL}:explain"
INFER = f"/v2/models/{MODEL}/infer"
JSON = {"content-type": "application/json"}


class Loaded(Predictor):
    """A predictor that was given its version instead of reading it from a folder."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(Config())
        self._decision = Decision(artifact)
        self.name = self._decision.name
        self.ready = True


@dataclass
class Client:
    """Calls of one application."""

    artifact: Artifact
    config: Config = field(default_factory=Config)

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self.model = Loaded(self.artifact)
        self.app = App(self.model, self.config, self.registry)

    def __call__(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """One call."""
        return asyncio.run(self._call(method, path, body, headers))

    def predict(self, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """A V1 call."""
        return self("POST", PREDICT, body, JSON if headers is None else headers)

    def infer(self, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """A V2 call."""
        return self("POST", INFER, body, JSON if headers is None else headers)

    def value(self, metric: str, **labels: str) -> float:
        """A metric's value now; of what came by the split, where routes are counted apart."""
        if metric.startswith(("sabia_requests", "sabia_request_", "sabia_decision", "sabia_predictions")):
            labels = {"route": "split"} | labels
        found = self.registry.get_sample_value(
            metric, {"model": MODEL, "version": self.artifact.manifest.version, **labels}
        )
        assert found is not None, f"there is no {metric}{labels}"
        return found

    async def _call(self, method: str, path: str, body: bytes | None, headers: dict[str, str] | None) -> httpx.Response:
        transport: Any = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, content=body, headers=headers)
