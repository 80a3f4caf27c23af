"""Where a model is served, as the live page needs to know it, and the page served for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sabia.kubernetes import counters as cluster_metrics
from sabia.kubernetes import resources
from sabia.kubernetes.cluster import Cluster
from sabia.kubernetes.httproute import HttpRouteSplit
from sabia.kubernetes.prometheus import Prometheus
from sabia.monitoring.live.ports import Act, Ports
from sabia.monitoring.live.server import serve_live
from sabia.rollout.events import Action
from sabia.rollout.ports import Source, Split
from sabia.store.objects import Store


@dataclass(frozen=True, slots=True)
class Place:
    """Who splits, who counts, who takes decisions."""

    model: str
    versions: list[str]
    split: Split
    source: Source
    decide: Act

    def counted_by(self, prometheus: str | None) -> Place:
        """The same place, with its counters from a Prometheus at this URL, if there is one."""
        return self if prometheus is None else replace(self, source=Prometheus(prometheus, self.model, self.versions))


def of_cluster(namespace: str, model: str, actor: str) -> Place:
    """A namespace of the cluster that is reached from here. Counters are from the pods, where those are reached.

    `actor` is who decides, as a rollout's record will have it.

    Raises:
        ClusterUnreachable, ClusterRefused: it does not say.
    """
    cluster = Cluster.connect(namespace)

    def decide(name: str, verb: Action, version: str | None) -> None:
        resources.act(cluster, model, name, verb, actor=actor, version=version)

    versions = [each.version for each in cluster.versions(model)]
    return Place(model, versions, HttpRouteSplit(cluster, model), cluster_metrics.pages(cluster, model), decide)


def show(
    place: Place,
    store: Store,
    *,
    host: str,
    port: int,
    names: Sequence[str],
    token: str | None,
    on_ready: Callable[[int], None],
) -> None:
    """Serve the page of a place until SIGINT or SIGTERM.

    It answers to `names`, `host` and localhost. `token` is what whoever decides must know; without it nothing is
    decided. `on_ready` is told the port.

    Raises:
        NoLivePage: nobody can listen there.
    """
    serve_live(
        store,
        place.model,
        Ports(place.split, place.source, place.decide),
        token=token,
        host=host,
        port=port,
        names=names,
        on_ready=on_ready,
    )
