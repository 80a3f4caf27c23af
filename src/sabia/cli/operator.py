"""`sabia operator`: the rollouts of a namespace, as a pod carries them out."""

from __future__ import annotations

from typing import Annotated

import typer

from sabia.kubernetes.operator.command import run


def operator(
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", envvar="SABIA_NAMESPACE", help="Namespace of the Rollouts.")
    ],
    store: Annotated[
        str, typer.Option("--store", envvar="SABIA_STORE", help="URL of the store that gets the records.")
    ],
    identity: Annotated[
        str, typer.Option(envvar="HOSTNAME", help="Name under which the lease is held; in a pod the pod's name.")
    ] = "operator",
    prometheus: Annotated[
        str | None,
        typer.Option(
            envvar="SABIA_PROMETHEUS", help="URL of a Prometheus to read counters from; else the pods' pages."
        ),
    ] = None,
) -> None:
    """Carry out the Rollouts of a namespace. One operator works at a time; more of them wait for its lease."""
    run(namespace, store, identity=identity, prometheus=prometheus)
