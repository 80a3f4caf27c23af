"""`python -m sabia.kubernetes.operator`: carry out the `Rollout` resources of one namespace.

Environment: `SABIA_NAMESPACE`, `SABIA_STORE` (with the store's own names for endpoint and credentials), `HOSTNAME` (the
pod's name, which the lease is held under), and `SABIA_PROMETHEUS` to read counters from a Prometheus and not the pods.
"""

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


def main() -> int:
    """Wait for the lease, then serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # kopf asks for a user's name, and a container's user need not have one.
    os.environ.setdefault("LOGNAME", "rollouts")
    namespace, url = os.environ["SABIA_NAMESPACE"], os.environ["SABIA_STORE"]
    cluster = Cluster.connect(namespace)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    lease = Lease(cluster.api, namespace, LEASE, os.environ.get("HOSTNAME", "operator"))
    logger.info("waiting for the lease %s", LEASE)
    if not lease.acquire(stopped):
        return 0
    logger.info("leading in %s", namespace)
    threading.Thread(target=lease.keep, args=(stopped, _answers, _lost), daemon=True).start()
    # Rollouts are independent of each other; one store is opened for each, and none is shared between threads.
    registry = register(cluster, lambda: Store.open(url), os.environ.get("SABIA_PROMETHEUS"))
    kopf.run(
        registry=registry,
        standalone=True,
        namespaces=[namespace],
        liveness_endpoint=_HEALTH,
    )
    stopped.set()
    lease.release()
    return 0


def _answers() -> bool:
    """Whether the loop that everything runs on still turns."""
    try:
        return requests.get(_HEALTH, timeout=3).ok
    except requests.RequestException:
        return False


def _lost() -> None:
    # Everything that was decided is in the records: whoever leads now goes on from there.
    logger.error("the lease was lost; ending")
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
