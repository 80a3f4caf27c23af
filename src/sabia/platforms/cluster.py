"""A namespace of a cluster: InferenceServices, an HTTPRoute, and `Rollout` resources that the operator carries out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, get_args

from sabia.contract import names
from sabia.contract.layout import Version
from sabia.kubernetes import counters, deployment, documents, resources
from sabia.kubernetes import route as routes
from sabia.kubernetes.cluster import Cluster, Deployed
from sabia.kubernetes.errors import NotCounted
from sabia.kubernetes.httproute import HttpRouteSplit
from sabia.kubernetes.prometheus import Prometheus
from sabia.platforms.errors import ModelUnnamed, NoModel, NotOffered
from sabia.platforms.port import Address, Deployment, RolloutView, Status
from sabia.platforms.store import open_store
from sabia.registry.comparable import require_comparable
from sabia.rollout import summary
from sabia.rollout.events import Action
from sabia.rollout.plan import Plan
from sabia.rollout.ports import Source
from sabia.store.objects import Store


class ClusterPlatform:
    """A namespace of a cluster; see `choose` for the arguments."""

    def __init__(
        self, cluster: Cluster, *, store: str | None, model: str | None, log: Callable[[str], None] = lambda _: None
    ) -> None:
        self._cluster = cluster
        self._url = store
        self._model = model
        self._log = log

    @classmethod
    def connect(cls, namespace: str, *, store: str | None, model: str | None, log: Callable[[str], None]) -> Self:
        """The namespace of the cluster that KUBECONFIG names or, in a pod, of the pod's own.

        Raises:
            ClusterUnreachable: there is neither.
        """
        return cls(Cluster.connect(namespace), store=store, model=model, log=log)

    @property
    def model(self) -> str:
        """See `Platform.model`."""
        if self._model is None:
            models = self._cluster.models()
            if not models:
                raise NoModel(self._cluster.namespace)
            if len(models) > 1:
                raise ModelUnnamed(self._cluster.namespace, models)
            self._model = models[0]
        return self._model

    def models(self) -> list[str]:
        """See `Platform.models`."""
        return self._cluster.models()

    def versions(self) -> list[str]:
        """See `Platform.versions`."""
        return [item.version for item in self._cluster.versions(self.model)]

    def store(self) -> Store:
        """See `Platform.store`."""
        return open_store(self._url)

    def split(self) -> HttpRouteSplit:
        """See `Platform.split`."""
        return HttpRouteSplit(self._cluster, self.model)

    def source(self, prometheus: str | None = None) -> Source:
        """See `Platform.source`. The pods' own pages are reached from inside the cluster alone."""
        if prometheus is not None:
            return Prometheus(prometheus, self.model, self.versions())
        return counters.pages(self._cluster, self.model)

    def status(self) -> Status:
        """See `Platform.status`. `requests` is None where the pods cannot be counted."""
        route = self._cluster.route(self.model)
        deployed = self._cluster.versions(self.model)
        if not deployed:
            raise NoModel(self._cluster.namespace, self.model)
        weights, mirror = (routes.weights(route), routes.mirror(route)) if route else ({}, None)
        versions: list[dict[str, Any]] = [
            {
                "version": item.version,
                "weight": weights.get(item.service, 0),
                "ready": item.ready,
                "requests": self._requests(item),
                "trouble": "" if item.ready else self._cluster.why_not_ready(item),
            }
            for item in deployed
        ]
        mirrored = next((item.version for item in deployed if item.service == mirror), None)
        hosts = route["spec"].get("hostnames", []) if route else []
        platform = {"model": self.model, "namespace": self._cluster.namespace, "hosts": hosts, "mirror": mirrored}
        return Status(platform, versions, [f"requests are mirrored to {mirrored}"] if mirrored else [])

    def _requests(self, deployed: Deployed) -> int | None:
        try:
            return self._cluster.requests_of(deployed)
        except NotCounted as error:
            self._log(str(error))
            return None

    def address(self, gateway: str) -> Address:
        """See `Platform.address`."""
        hosts = self.split().read()["spec"].get("hostnames", [])
        url = gateway.rstrip("/") + names.v1_predict(self.model)
        return Address(url, {"host": hosts[0]} if hosts else {})

    def deploy(self, version: Version, options: Deployment) -> str:
        """See `Platform.deploy`."""
        code = None
        if options.image is not None and options.model_class is not None:
            code = documents.Code(options.image, options.model_class, options.artifact)
        found = documents.documents(
            self.model,
            version,
            namespace=self._cluster.namespace,
            replicas=options.replicas,
            faults=options.faults,
            baseline=options.baseline,
            code=code,
        )
        return deployment.deploy(
            self._cluster, found, seconds=options.seconds, log=self._log, host=options.host
        ).version

    def undeploy(self, version: str, *, quiet: float, seconds: float) -> None:
        """See `Platform.undeploy`."""
        silence = deployment.Silence(quiet, seconds)
        deployment.undeploy(self._cluster, self.model, version, silence, log=self._log)

    def start_rollout(self, plan: Plan, *, name: str | None, actor: str) -> str:
        """See `Platform.start_rollout`. A resource is applied by the cluster's user, not by `actor`.

        The operator compares the versions, and shows in the resource why it refuses them; here they are compared only
        where a store is named, as a user of the cluster need not reach it.
        """
        del actor
        if self._url is not None:
            require_comparable(self.store(), plan.model, plan.versions)
        return resources.create(self._cluster, plan, name)

    def carry_out(self, name: str | None, *, foreground: bool, prometheus: str | None) -> None:
        """See `Platform.carry_out`."""
        del name, prometheus
        if foreground:
            raise NotOffered("The operator (`sabia operator`) carries out the rollouts of a cluster.")

    def rollout(self, name: str | None) -> RolloutView:
        """See `Platform.rollout`."""
        found = resources.get(self._cluster, self._rollout_model(name), name)
        return RolloutView(
            name=found.name,
            model=found.plan.model,
            phase=found.phase,
            conditions=[kind for kind in found.conditions if kind in get_args(summary.Condition)],
            weights=found.weights,
            summary=found.summary,
            details=found.details,
            eta=found.eta,
            at=found.at,
            ended=found.ended,
        )

    def act(self, name: str | None, action: Action, *, actor: str, version: str | None) -> str:
        """See `Platform.act`. The action is written into the resource, which the operator follows."""
        return resources.act(self._cluster, self._rollout_model(name), name, action, actor=actor, version=version)

    def _rollout_model(self, name: str | None) -> str | None:
        """The model whose rollouts are meant: None where the name of the rollout says it, or only one is served.

        Raises:
            ModelUnnamed: several are served, and neither a model nor a rollout was named.
        """
        if self._model is None and name is None and len(self._cluster.models()) > 1:
            return self.model
        return self._model
