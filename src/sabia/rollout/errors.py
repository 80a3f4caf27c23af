"""What can go wrong when versions are deployed and traffic is moved.

```
RolloutError
├── UnknownVersion       the route has no such version
├── InvalidWeights       the weights make no split
├── NotReady             a version that does not answer was to get requests
├── NotConfirmed         the gateway did not take a change in its time
├── Overtaken            somebody else changed the route meanwhile
├── DeploymentFailed     a version did not become ready in its time
├── StillServing         a version that gets requests was to be removed
├── NotCounted           how many requests a version gets cannot be seen
├── RouteNotFound        no route of this model
├── InvalidPlan          a plan says what cannot be done
├── RolloutNotFound      there is no record of this rollout
├── RolloutEnded         a rollout that is over was told to do something
├── AlreadyRollingOut    another rollout of the model is under way
├── LookTaken            somebody else wrote the record first
├── BrokenRecord         a record is not what was written, or one is missing
├── NotScraped           the counters of both arms cannot be had now
├── ClusterUnreachable   the Kubernetes API does not answer
└── ClusterRefused       the Kubernetes API refuses
```
"""

from __future__ import annotations

from collections.abc import Iterable

from sabia.errors import SabiaError


class RolloutError(SabiaError):
    """Base of everything this package raises on purpose."""


class UnknownVersion(RolloutError):
    """A version was asked for that no backend of the route serves."""

    exit_code = 3

    def __init__(self, version: str, known: Iterable[str]) -> None:
        super().__init__(f"The route has no version {version!r}; it has {', '.join(sorted(known)) or 'none'}.")


class InvalidWeights(RolloutError):
    """The weights cannot be put into force."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The weights were not changed: {reason}.")


class NotReady(RolloutError):
    """A version would get requests that it cannot answer."""

    def __init__(self, version: str, reason: str) -> None:
        super().__init__(f"The traffic was not changed: version {version} is not ready ({reason}).")


class NotConfirmed(RolloutError):
    """Nobody said that a change of the route is in force."""

    def __init__(self, seconds: float, reason: str = "") -> None:
        why = f": {reason}" if reason else ""
        super().__init__(f"The gateway did not confirm the change within {seconds:g} s{why}; it may not be in force.")


class Overtaken(RolloutError):
    """The route is no longer the one that the change was made from."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The route {name} was changed by somebody else meanwhile; look again, then repeat.")


class DeploymentFailed(RolloutError):
    """A version did not come up."""

    def __init__(self, version: str, seconds: float, reason: str) -> None:
        super().__init__(f"Version {version} was not ready after {seconds:g} s and gets no request: {reason}.")


class StillServing(RolloutError):
    """A version cannot be taken away from under its clients."""

    def __init__(self, version: str, reason: str) -> None:
        super().__init__(f"Version {version} was not removed: {reason}.")


class NotCounted(RolloutError):
    """A version answers its clients, and not those who would count them."""

    def __init__(self, version: str, status: int | None) -> None:
        super().__init__(
            f"The requests of version {version} cannot be counted: the API server got {status} from port 8080 of a pod "
            "that is ready; a NetworkPolicy may keep it out."
        )


class RouteNotFound(RolloutError):
    """There is no route to change."""

    exit_code = 3

    def __init__(self, model: str, namespace: str) -> None:
        super().__init__(f"Namespace {namespace} has no HTTPRoute {model!r}; `sabia deploy` makes it.")


class InvalidPlan(RolloutError):
    """A plan cannot be carried out."""

    exit_code = 2

    def __init__(self, field: str, problem: str, line: int | None = None) -> None:
        where = f" (line {line})" if line is not None else ""
        super().__init__(f"The plan's {field}{where} {problem.rstrip('.')}.")
        self.field, self.problem, self.line = field, problem, line


class RolloutNotFound(RolloutError):
    """Nobody started this rollout."""

    exit_code = 3

    def __init__(self, model: str | None, name: str | None) -> None:
        which = f"rollout {name!r}" if name else "rollout"
        super().__init__(f"There is no {which}{f' of {model!r}' if model else ''}; `sabia rollout start` makes one.")


class RolloutEnded(RolloutError):
    """A rollout is over."""

    def __init__(self, name: str, phase: str) -> None:
        super().__init__(f"Rollout {name} is {phase}; nothing can be done to it any more.")


class AlreadyRollingOut(RolloutError):
    """Two rollouts would move the same weights."""

    def __init__(self, model: str, name: str) -> None:
        super().__init__(f"Rollout {name} of {model!r} is under way; wait for its end, or `sabia rollout abort` it.")


class LookTaken(RolloutError):
    """Of two writers, the other one was first."""

    def __init__(self, name: str, seq: int) -> None:
        super().__init__(f"Record {seq} of rollout {name} was written by somebody else; this engine steps back.")


class BrokenRecord(RolloutError):
    """The chain of records does not hold."""

    exit_code = 4

    def __init__(self, name: str, seq: int, problem: str) -> None:
        super().__init__(f"Record {seq} of rollout {name} {problem}.")


class NotScraped(RolloutError):
    """No counters this time: nothing may be concluded."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The counters cannot be had: {reason.rstrip('.')}.")
        self.reason = reason.rstrip(".")


class ClusterUnreachable(RolloutError):
    """The Kubernetes API could not be asked."""

    exit_code = 5

    def __init__(self, reason: str) -> None:
        super().__init__(f"The cluster cannot be reached: {reason}.")


class ClusterRefused(RolloutError):
    """The Kubernetes API answered, with a no."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"The cluster refused {what}: {reason.rstrip('.')}.")
