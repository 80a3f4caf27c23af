"""The split of the one-machine platform: in the files that Envoy watches."""

from __future__ import annotations

from collections.abc import Mapping

from sabia.kubernetes.specs import RouteSpec
from sabia.local import errors as stack_errors
from sabia.local import gateway as gateways
from sabia.local.envoy import Gateway
from sabia.local.state import State
from sabia.rollout.errors import NotConfirmed
from sabia.rollout.weights import check_version, check_weights


class EnvoySplit:
    """The split of one model of a running stack.

    Args:
        gateway: the stack's.
        route: the model's route, as the stack was started with it.
        services: the Service of each version.
    """

    def __init__(self, gateway: Gateway, route: RouteSpec, services: Mapping[str, str]) -> None:
        self._gateway = gateway
        self._route = route
        self._services = dict(services)

    @classmethod
    def from_state(cls, gateway: Gateway, state: State, model: str | None = None) -> EnvoySplit:
        """The split of a model of the stack with this gateway and state; None is the only model.

        Raises:
            ModelUnnamed, ModelNotServed: the stack does not serve exactly that one.
        """
        served = state.served(model)
        return cls(gateway, served.route, {server.version: server.service for server in served.servers})

    def weights(self) -> dict[str, int]:
        """See `Split.weights`."""
        by_service = self._gateway.weights(self._route.name)
        return {version: by_service.get(service, 0) for version, service in self._services.items()}

    def set_weights(self, weights: Mapping[str, int]) -> dict[str, int]:
        """See `Split.set_weights`. Readiness is Envoy's to check here: it asks every server itself."""
        check_weights(weights, self._services)
        by_service = {service: weights.get(version, 0) for version, service in self._services.items()}
        self._apply(gateways.with_weights(self._current(), by_service))
        return self.weights()

    def mirror(self) -> str | None:
        """See `Split.mirror`."""
        mirrors = self._gateway.mirrors(self._route.name)
        return next((version for version, service in self._services.items() if service in mirrors), None)

    def set_mirror(self, version: str | None) -> None:
        """See `Split.set_mirror`."""
        if version is not None:
            check_version(version, self._services)
        self._apply(gateways.with_mirrors(self._current(), [self._services[version]] if version else []))

    def request_counts(self) -> dict[str, int]:
        """See `Split.request_counts`; counted by Envoy since it started."""
        seen = self._gateway.request_counts()
        return {version: seen.get(service, 0) for version, service in self._services.items()}

    def _current(self) -> RouteSpec:
        """The model's route with the weights and mirrors in force."""
        weights, mirrors = self._gateway.weights(self._route.name), self._gateway.mirrors(self._route.name)
        return gateways.with_mirrors(gateways.with_weights(self._route, weights), mirrors)

    def _apply(self, route: RouteSpec) -> None:
        try:
            self._gateway.apply(route)
        except stack_errors.NotConfirmed as error:
            raise NotConfirmed(error.seconds) from error
