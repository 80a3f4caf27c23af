"""Weights by version: what a person asks for, and what the gateway has in force."""

from __future__ import annotations

from collections.abc import Mapping

from stack import gateway as gateways
from stack import manifests
from stack.envoy import Gateway
from stack.errors import InvalidWeights, UnknownVersion
from stack.specs import RouteSpec
from stack.stack import State


class Traffic:
    """The split of a running stack.

    Args:
        gateway: the stack's.
        route: the route that the split is part of.
        services: the Service of each version.
    """

    def __init__(self, gateway: Gateway, route: RouteSpec, services: Mapping[str, str]) -> None:
        self._gateway = gateway
        self._route = route
        self._services = dict(services)

    @classmethod
    def of(cls, gateway: Gateway, state: State) -> Traffic:
        """The split of the stack with this gateway and state."""
        route = manifests.route(manifests.render(manifests.ROOT / "traffic"), where="traffic")
        return cls(gateway, route, {server.version: server.service for server in state.servers})

    def weights(self) -> dict[str, int]:
        """The weights in force, by version; a version that only a pin reaches has 0."""
        by_service = self._gateway.weights()
        return {version: by_service.get(service, 0) for version, service in self._services.items()}

    def set_weights(self, weights: Mapping[str, int]) -> dict[str, int]:
        """Put weights into force, and return all of them when the gateway has confirmed.

        Versions that are not named get 0, so that the numbers given are the whole split.

        Raises:
            UnknownVersion: the route has no such version.
            InvalidWeights: one is negative, or all are zero.
            NotConfirmed: the gateway did not take them in time.
        """
        for version, weight in weights.items():
            if version not in self._services:
                raise UnknownVersion(version, self._services)
            if weight < 0:
                raise InvalidWeights(f"version {version} cannot have {weight}")
        if sum(weights.values()) <= 0:
            raise InvalidWeights("somebody must get the requests")
        by_service = {service: weights.get(version, 0) for version, service in self._services.items()}
        self._gateway.apply(gateways.with_weights(self._route, by_service))
        return self.weights()

    def requests_seen(self) -> dict[str, int]:
        """Requests that each version was sent since the gateway started, health checks left out."""
        seen = self._gateway.requests_seen()
        return {version: seen.get(service, 0) for version, service in self._services.items()}
