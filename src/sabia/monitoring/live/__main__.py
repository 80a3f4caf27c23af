"""`python -m sabia.monitoring.live`: the live page of a cluster, as a pod serves it. So does `sabia dash`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from sabia.monitoring.errors import MonitoringError
from sabia.monitoring.live.place import of_cluster, show
from sabia.rollout.errors import RolloutError
from sabia.store.errors import ArtifactError
from sabia.store.objects import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """0 after SIGTERM; 1 when it cannot be served, with the sentence that says why."""
    parser = argparse.ArgumentParser(prog="python -m sabia.monitoring.live", description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--namespace", required=True, help="where the model is served")
    parser.add_argument("--store", default=os.environ.get("SABIA_STORE"), help="URL of the store (SABIA_STORE)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8501)
    parser.add_argument("--name", action="append", default=[], help="a host name that it is asked by; repeatable")
    parser.add_argument("--prometheus", help="take the counters from this Prometheus, not from the pods")
    parser.add_argument("--decisions", action="store_true", help="allow decisions to whoever knows SABIA_DASH_TOKEN")
    given = parser.parse_args(arguments)
    if given.store is None:
        parser.error("--store, or SABIA_STORE, is needed")
    token = os.environ.get("SABIA_DASH_TOKEN")
    if given.decisions and not token:
        parser.error("--decisions needs SABIA_DASH_TOKEN")
    try:
        place = of_cluster(given.namespace, given.model, actor="live page")
        show(
            place.counted_by(given.prometheus),
            Store.open(given.store),
            host=given.host,
            port=given.port,
            names=given.name,
            token=token if given.decisions else None,
            on_ready=lambda port: print(f"the live page of {given.model} is on port {port}", flush=True),
        )
    except (ArtifactError, MonitoringError, RolloutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
