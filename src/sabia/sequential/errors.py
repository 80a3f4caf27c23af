"""Errors of the arguments, and of the arithmetic.

```
SequentialError
├── InvalidCounts     counts that contradict each other
├── InvalidSetting    a margin, a level or a bet outside its range
└── NotComputed       a result is not a number; it is never passed on as evidence
```
"""

from __future__ import annotations

from sabia.errors import SabiaError


class SequentialError(SabiaError):
    """Base of everything this package raises on purpose."""


class InvalidCounts(SequentialError):
    """Counts contradict each other."""

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(f"{what} {problem}.")


class InvalidSetting(SequentialError):
    """A setting is outside its range."""

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"{name} is {value!r}; it must be {allowed}.")


class NotComputed(SequentialError):
    """A result is not a number. As evidence it would hide harm in every later look, so it ends this one."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what[0].upper()}{what[1:]} could not be computed.")
