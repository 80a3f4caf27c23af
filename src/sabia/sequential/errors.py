"""What can go wrong before a comparison: only what it is given can be wrong.

```
EvidenceError
├── InvalidCounts     counts that no two arms can have
└── InvalidSetting    a margin, a level or a bet outside its range
```
"""

from __future__ import annotations

from sabia.errors import SabiaError


class EvidenceError(SabiaError):
    """Base of everything this package raises on purpose."""


class InvalidCounts(EvidenceError):
    """Counts contradict each other."""

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(f"{what} {problem}.")


class InvalidSetting(EvidenceError):
    """A setting is outside its range."""

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"{name} is {value!r}; it must be {allowed}.")
