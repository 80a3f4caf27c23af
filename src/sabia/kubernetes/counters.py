"""Counters of a cluster: the metrics of every pod of every version, read from inside the cluster."""

from __future__ import annotations

from sabia.kubernetes import pods
from sabia.kubernetes.cluster import Cluster, Document
from sabia.kubernetes.scraping import PageSource, Replica, Replicas
from sabia.rollout.errors import NotScraped, RolloutError

_PORT = 8080


class Pods:
    """Finds the pods of a model's versions. Remembers their restarts: one more is trouble."""

    def __init__(self, cluster: Cluster, model: str) -> None:
        self._cluster = cluster
        self._model = model
        self._restarts: dict[str, int] = {}

    def __call__(self) -> Replicas:
        """Servers that are ready, and versions that cannot serve.

        Raises:
            NotScraped: the Kubernetes API is unavailable.
        """
        try:
            return self._find()
        except RolloutError as error:
            raise NotScraped(str(error)) from error

    def _find(self) -> Replicas:
        replicas: list[Replica] = []
        trouble: dict[str, str] = {}
        for deployed in self._cluster.versions(self._model):
            found = self._cluster.pods_of(deployed)
            ready = [pod for pod in found if pods.is_ready(pod) and pod["status"].get("podIP")]
            replicas += [
                Replica(deployed.version, pod["metadata"]["name"], f"http://{pod['status']['podIP']}:{_PORT}")
                for pod in ready
            ]
            ended = [why for pod in found if (why := self._ended(pod)) is not None]
            if ended:
                trouble[deployed.version] = ended[0]
            elif not ready:
                trouble[deployed.version] = self._cluster.why_not_ready(deployed)
        return Replicas(replicas, trouble)

    def _ended(self, pod: Document) -> str | None:
        """How its server ended since the last call; None if it did not."""
        name = pod["metadata"]["name"]
        restarts = pods.restarts(pod)
        before = self._restarts.setdefault(name, restarts)
        self._restarts[name] = restarts
        return pods.last_end(pod) if restarts > before else None


def pages(cluster: Cluster, model: str) -> PageSource:
    """The source of a model's versions on a cluster."""
    return PageSource(Pods(cluster, model))
