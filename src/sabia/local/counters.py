"""Counters of the platform on this machine: its predictors' pages, and Envoy's counters of each version."""

from __future__ import annotations

import requests

from sabia.contract.names import v1_model
from sabia.kubernetes.scraping import PageSource, Replica, Replicas
from sabia.local.envoy import Gateway as Envoy
from sabia.local.process import answers
from sabia.local.state import State
from sabia.rollout.counters import Gateway
from sabia.rollout.errors import NotScraped

_TIMEOUT = 2.0


def pages(envoy: Envoy, state: State, model: str | None = None) -> PageSource:
    """The source of a model of a running stack; None is the only model.

    Raises:
        ModelUnnamed, ModelNotServed: the stack does not serve exactly that one.
    """
    served = state.served(model)
    versions = {server.service: server.version for server in served.servers}

    def find() -> Replicas:
        servers = [Replica(server.version, server.name, server.url) for server in served.servers]
        ready: dict[str, list[bool]] = {}
        for server in served.servers:
            answering = answers(server.url + v1_model(served.model), seconds=_TIMEOUT)
            ready.setdefault(server.version, []).append(answering)
        trouble = {version: "it is not ready" for version, each in ready.items() if not any(each)}
        return Replicas(servers, trouble)

    def gateway() -> dict[str, Gateway]:
        try:
            seen = envoy.outcomes()
        except requests.RequestException as error:
            raise NotScraped(f"the gateway does not answer ({type(error).__name__})") from error
        return {versions[service]: Gateway(*counts) for service, counts in seen.items() if service in versions}

    return PageSource(find, gateway)
