"""What can go wrong when traffic is moved by evidence.

```
RolloutError
├── UnknownVersion       the route has no such version
├── InvalidWeights       the weights make no split
├── NotReady             a version that cannot answer would get requests
├── NotConfirmed         the gateway did not confirm a change in time
├── MovedConcurrently    the route was changed at the same time
├── NotScraped           the counters of both arms are unavailable
├── InvalidPlan          a plan cannot be carried out
├── RolloutNotFound      there is no record of this rollout
├── RolloutEnded         an action on a rollout that is over
├── AlreadyRollingOut    another rollout of the model is under way
├── EntryTaken           another writer appended to the record first
└── BrokenRecord         an entry is missing, unreadable, or does not continue the one before
```
An adapter raises these, or subclasses of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from sabia.errors import SabiaError


class RolloutError(SabiaError):
    """Base of everything this package raises on purpose."""


class UnknownVersion(RolloutError):
    """No backend of the route serves this version."""

    exit_code = 3

    def __init__(self, version: str, known: Iterable[str]) -> None:
        super().__init__(f"The route has no version {version!r}; it has {', '.join(sorted(known)) or 'none'}.")


class InvalidWeights(RolloutError):
    """The weights make no split."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The weights were not changed: {reason}.")


class NotReady(RolloutError):
    """A version would get requests that it cannot answer."""

    def __init__(self, version: str, reason: str) -> None:
        super().__init__(f"The traffic was not changed: version {version} is not ready ({reason}).")


class NotConfirmed(RolloutError):
    """The gateway did not confirm a change of the route."""

    def __init__(self, seconds: float, reason: str = "") -> None:
        why = f": {reason}" if reason else ""
        super().__init__(f"The gateway did not confirm the change within {seconds:g} s{why}; it may not be in force.")


class MovedConcurrently(RolloutError):
    """The route was changed at the same time."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The route {name} was changed concurrently; check its weights, then repeat.")


class InvalidPlan(RolloutError):
    """A plan cannot be carried out."""

    exit_code = 2

    def __init__(self, field: str, problem: str, line: int | None = None) -> None:
        where = f" (line {line})" if line is not None else ""
        super().__init__(f"The plan's {field}{where} {problem.rstrip('.')}.")
        self.field, self.problem, self.line = field, problem, line


class RolloutNotFound(RolloutError):
    """There is no record of this rollout."""

    exit_code = 3

    def __init__(self, model: str | None, name: str | None) -> None:
        which = f"rollout {name!r}" if name else "rollout"
        super().__init__(f"There is no {which}{f' of {model!r}' if model else ''}; `sabia rollout start` makes one.")


class RolloutEnded(RolloutError):
    """A rollout is over."""

    def __init__(self, name: str, phase: str) -> None:
        super().__init__(f"Rollout {name} is over ({phase}) and takes no action.")


class AlreadyRollingOut(RolloutError):
    """Two rollouts would move the same weights."""

    def __init__(self, model: str, name: str) -> None:
        super().__init__(f"Rollout {name} of {model!r} is under way; wait for its end, or `sabia rollout abort` it.")


class EntryTaken(RolloutError):
    """Another writer appended this entry first."""

    def __init__(self, name: str, seq: int) -> None:
        super().__init__(f"Entry {seq} of rollout {name} was written by another engine; this one stops.")


class BrokenRecord(RolloutError):
    """The record does not hold together."""

    exit_code = 4

    def __init__(self, name: str, seq: int, problem: str) -> None:
        super().__init__(f"Entry {seq} of rollout {name} {problem}.")


class NotScraped(RolloutError):
    """The counters are unavailable: nothing may be concluded."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The counters are unavailable: {reason.rstrip('.')}.")
        self.reason = reason.rstrip(".")
