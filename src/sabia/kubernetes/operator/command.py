"""The operator's process: it waits for the lease, then carries out the `Rollout` resources of one namespace."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

import kopf
import requests

from sabia.kubernetes.cluster import Cluster
from sabia.kubernetes.operator.handlers import register
from sabia.kubernetes.operator.lease import Lease
from sabia.store.objects import Store

LEASE = "sabia-rollouts"
_HEALTH = "http://127.0.0.1:8080/healthz"

logger = logging.getLogger("sabia.operator")


def run(namespace: str, store: str, *, identity: str, prometheus: str | None) -> None:
    """Wait for the lease, then serve until SIGTERM.

    Args:
        namespace: whose `Rollout` resources are carried out.
        store: URL of the store that gets the records.
        identity: the name under which the lease is held, in a pod the pod's name.
        prometheus: URL of a Prometheus to read counters from; None reads the pods' own pages.

    Raises:
        ClusterUnreachable: there is no cluster.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # kopf asks for a user's name, and a container's user need not have one.
    os.environ.setdefault("LOGNAME", "rollouts")
    cluster = Cluster.connect(namespace)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    lease = Lease(cluster.api, namespace, LEASE, identity)
    logger.info("waiting for the lease %s", LEASE)
    if not lease.acquire(stopped):
        return
    logger.info("leading in %s", namespace)
    threading.Thread(target=lease.keep, args=(stopped, _answers, _lost), daemon=True).start()
    # Rollouts are independent of each other; one store is opened for each, and none is shared between threads.
    registry = register(cluster, lambda: Store.open(store), prometheus)
    kopf.run(
        registry=registry,
        standalone=True,
        namespaces=[namespace],
        liveness_endpoint=_HEALTH,
    )
    stopped.set()
    lease.release()


def _answers() -> bool:
    """Whether the loop that everything runs on still turns."""
    try:
        return requests.get(_HEALTH, timeout=3).ok
    except requests.RequestException:
        return False


def _lost() -> None:
    # Everything decided is in the records: the new leader continues from there.
    logger.error("the lease was lost; ending")
    os._exit(1)
