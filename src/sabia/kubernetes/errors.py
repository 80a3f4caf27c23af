"""What can go wrong on a cluster.

```
RolloutError
├── DeploymentFailed     a version did not become ready in time
├── StillServing         a version that gets requests cannot be removed
├── NotCounted           the requests of a version cannot be counted
├── RouteNotFound        the model has no route
├── ClusterUnreachable   the Kubernetes API does not answer
└── ClusterRefused       the Kubernetes API refuses

SabiaError
├── ManifestProblem      a manifest cannot be rendered, or uses what the platform does not support
└── NotInstalled         a program that an extra brings is not installed
```
"""

from __future__ import annotations

from sabia.errors import SabiaError
from sabia.rollout.errors import RolloutError


class DeploymentFailed(RolloutError):
    """A version did not become ready in time."""

    def __init__(self, version: str, seconds: float, reason: str) -> None:
        super().__init__(f"Version {version} was not ready after {seconds:g} s and gets no request: {reason}.")


class StillServing(RolloutError):
    """A version that gets requests cannot be removed."""

    def __init__(self, version: str, reason: str) -> None:
        super().__init__(f"Version {version} was not removed: {reason}.")


class NotCounted(RolloutError):
    """The requests of a ready version cannot be counted."""

    def __init__(self, version: str, status: int | None) -> None:
        super().__init__(
            f"The requests of version {version} cannot be counted: the API server got {status} from port 8080 of a pod "
            "that is ready; a NetworkPolicy may keep it out."
        )


class RouteNotFound(RolloutError):
    """The model has no route."""

    exit_code = 3

    def __init__(self, model: str, namespace: str) -> None:
        super().__init__(f"Namespace {namespace} has no HTTPRoute {model!r}; `sabia deploy` makes it.")


class ClusterUnreachable(RolloutError):
    """The Kubernetes API does not answer."""

    exit_code = 5

    def __init__(self, reason: str) -> None:
        super().__init__(f"The cluster cannot be reached: {reason}.")


class ClusterRefused(RolloutError):
    """The Kubernetes API refuses a request."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"The cluster refused {what}: {reason.rstrip('.')}.")


class ManifestProblem(SabiaError):
    """A manifest cannot be rendered, or uses what the platform does not support."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}.")


class NotInstalled(SabiaError):
    """A program that an extra brings is not installed."""

    def __init__(self, program: str, extra: str) -> None:
        super().__init__(f"{program} is not installed; pip install 'sabia[{extra}]' brings it.")
