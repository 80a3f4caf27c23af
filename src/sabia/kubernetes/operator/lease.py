"""One leader: a Lease that is held and renewed, so that a second operator waits.

A lease has expired when it was not renewed for its duration, measured by this process's own steady clock: clocks that
differ between machines, or jump, do not matter. Two leaders for a moment do no harm either: each number of a rollout's
record can be written once.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import urllib3.exceptions
from kubernetes import client

_LASTS = 15
_RENEW = 4.0
_TRY = 2.0


@dataclass(slots=True)
class _Observed:
    """The version of a lease, and when it was first observed."""

    version: str
    since: float


class Lease:
    """A Lease in a namespace.

    Args:
        api: the cluster.
        namespace: its namespace.
        name: its name.
        holder: the identity of this process.
    """

    def __init__(self, api: client.ApiClient, namespace: str, name: str, holder: str) -> None:
        self._leases = client.CoordinationV1Api(api)
        self._namespace, self._name, self._holder = namespace, name, holder
        self._observed: _Observed | None = None

    def acquire(self, stopped: threading.Event) -> bool:
        """Wait until this process holds it; False if stopped first."""
        while not stopped.is_set():
            if self.attempt():
                return True
            stopped.wait(_TRY)
        return False

    def keep(self, stopped: threading.Event, alive: Callable[[], bool], lost: Callable[[], None]) -> None:
        """Renew until stopped, and only while `alive`; call `lost` when it was not renewed for nearly its duration."""
        renewed = time.monotonic()
        while not stopped.wait(_RENEW):
            if alive() and self.attempt():
                renewed = time.monotonic()
            elif time.monotonic() - renewed > _LASTS - _RENEW:
                lost()
                return

    def release(self) -> None:
        """Release it, so that the next operator need not wait; if the API does not answer, it has to."""
        with contextlib.suppress(client.ApiException, urllib3.exceptions.HTTPError):
            lease = self._leases.read_namespaced_lease(self._name, self._namespace)
            if lease.spec.holder_identity == self._holder:
                lease.spec.holder_identity = ""
                self._leases.replace_namespaced_lease(self._name, self._namespace, lease)

    def attempt(self) -> bool:
        """Take or renew it, if it is free or held by this process. False otherwise, or if the API does not answer."""
        try:
            return self._attempt()
        except (client.ApiException, urllib3.exceptions.HTTPError):
            return False

    def _attempt(self) -> bool:
        try:
            lease = self._leases.read_namespaced_lease(self._name, self._namespace)
        except client.ApiException as error:
            if error.status != 404:
                raise
            metadata = client.V1ObjectMeta(name=self._name, namespace=self._namespace)
            self._leases.create_namespaced_lease(self._namespace, client.V1Lease(metadata=metadata, spec=self._spec()))
            return True
        if lease.spec.holder_identity not in ("", None, self._holder) and not self._has_expired(lease):
            return False
        lease.spec = self._spec()
        # The API refuses to replace a version that was replaced concurrently.
        self._leases.replace_namespaced_lease(self._name, self._namespace, lease)
        return True

    def _has_expired(self, lease: client.V1Lease) -> bool:
        version, now = lease.metadata.resource_version, time.monotonic()
        if self._observed is None or self._observed.version != version:
            self._observed = _Observed(version, now)
        return now - self._observed.since > _LASTS

    def _spec(self) -> client.V1LeaseSpec:
        now = datetime.now(UTC)
        return client.V1LeaseSpec(
            holder_identity=self._holder, lease_duration_seconds=_LASTS, acquire_time=now, renew_time=now
        )
