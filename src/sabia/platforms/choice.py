"""The choice between this machine and a cluster. The libraries of the other one are not imported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sabia.platforms.port import Platform
from sabia.platforms.store import DEFAULT_FOLDER


def choose(
    namespace: str | None,
    *,
    folder: Path = DEFAULT_FOLDER,
    store: str | None = None,
    model: str | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Platform:
    """The platform of a namespace of the cluster that KUBECONFIG names; without one, that of this machine.

    Args:
        namespace: None chooses this machine.
        folder: where the stack of this machine runs.
        store: URL of the store that holds versions and records; None takes the running stack's.
        model: the model; None takes the only one that is served.
        log: gets a line for everything that takes time.

    Raises:
        ClusterUnreachable: there is no cluster.
    """
    if namespace is not None:
        from sabia.platforms.cluster import ClusterPlatform

        return ClusterPlatform.connect(namespace, store=store, model=model, log=log)
    from sabia.platforms.local import LocalPlatform

    return LocalPlatform(folder, store=store, model=model, log=log)
