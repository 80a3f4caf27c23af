"""The split of a cluster: in the weights of an HTTPRoute."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sabia.kubernetes import route as routes
from sabia.kubernetes.cluster import Cluster, Deployed
from sabia.kubernetes.errors import RouteNotFound
from sabia.rollout.errors import MovedConcurrently, NotConfirmed, NotReady
from sabia.rollout.weights import check_version, check_weights

Document = dict[str, Any]

_CONFIRM_SECONDS = 30.0
_POLL = 0.1


class HttpRouteSplit:
    """The split of one model in a namespace of a cluster.

    A change is made from the route as it was read, and never overwrites a concurrent change.
    """

    def __init__(self, cluster: Cluster, model: str) -> None:
        self._cluster = cluster
        self.model = model

    def weights(self) -> dict[str, int]:
        """See `Split.weights`."""
        by_service = routes.weights(self.read())
        return {item.version: by_service.get(item.service, 0) for item in self._versions().values()}

    def set_weights(self, weights: Mapping[str, int]) -> dict[str, int]:
        """See `Split.set_weights`."""
        route = self.read()
        known = {version: item for version, item in self._versions().items() if item.service in routes.weights(route)}
        check_weights(weights, known)
        for version, weight in weights.items():
            if weight > 0:
                self._require_ready(known[version])
        # A Service without a version gets 0 too: the weights given are all weights.
        by_service = dict.fromkeys(routes.weights(route), 0)
        by_service |= {known[version].service: weight for version, weight in weights.items()}
        self.change(route, lambda found: routes.with_weights(found, by_service))
        return self.weights()

    def mirror(self) -> str | None:
        """See `Split.mirror`."""
        service = routes.mirror(self.read())
        return next((version for version, item in self._versions().items() if item.service == service), None)

    def set_mirror(self, version: str | None) -> None:
        """See `Split.set_mirror`."""
        route, known = self.read(), self._versions()
        service = None
        if version is not None:
            check_version(version, known)
            self._require_ready(known[version])
            service = known[version].service
        self.change(route, lambda found: routes.with_mirror(found, service))

    def request_counts(self) -> dict[str, int]:
        """See `Split.request_counts`; counted by the pods that run now."""
        return {version: self._cluster.requests_of(item) for version, item in self._versions().items()}

    def read(self) -> Document:
        """The route.

        Raises:
            RouteNotFound: there is none.
        """
        found = self._cluster.route(self.model)
        if found is None:
            raise RouteNotFound(self.model, self._cluster.namespace)
        return found

    def change(self, route: Document, rewrite: Callable[[Document], Document]) -> None:
        """Rewrite the route that was read, and return when the gateway has confirmed.

        Raises:
            MovedConcurrently: its rules are no longer those that were read.
            NotConfirmed: the gateway did not accept it in time.
        """
        current = route
        while (written := self._cluster.replace_route(rewrite(current))) is None:
            # The gateway writes its status into the same object: only another generation is another route.
            current = self.read()
            if current["metadata"]["generation"] != route["metadata"]["generation"]:
                raise MovedConcurrently(self.model)
        self._confirm(written["metadata"]["generation"])

    def _confirm(self, generation: int) -> None:
        deadline = time.monotonic() + _CONFIRM_SECONDS
        while (missing := unconfirmed(self.read(), generation)) is not None:
            if time.monotonic() > deadline:
                raise NotConfirmed(_CONFIRM_SECONDS, missing)
            time.sleep(_POLL)

    def _require_ready(self, deployed: Deployed) -> None:
        if not deployed.ready:
            raise NotReady(deployed.version, self._cluster.why_not_ready(deployed))

    def _versions(self) -> dict[str, Deployed]:
        return {item.version: item for item in self._cluster.versions(self.model)}


def unconfirmed(route: Document, generation: int) -> str | None:
    """Why a generation of a route is not in force; None once every gateway accepts and resolves it."""
    parents = route.get("status", {}).get("parents", [])
    if not parents:
        return "no gateway has taken the route"
    for parent in parents:
        conditions = {item["type"]: item for item in parent.get("conditions", [])}
        for kind in ("Accepted", "ResolvedRefs"):
            condition = conditions.get(kind)
            if condition is None or condition.get("observedGeneration", 0) < generation:
                return "the gateway has not processed it yet"
            if condition["status"] != "True":
                return str(condition.get("message") or condition.get("reason")).rstrip(".")
    return None
