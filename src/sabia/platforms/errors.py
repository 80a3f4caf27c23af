"""What can go wrong when a platform is used.

```
PlatformError
├── NoStore          neither a URL nor a running stack names a store
├── NoModel          the platform serves no model
├── ModelUnnamed     the platform serves several models, and none was named
└── NotOffered       the platform does not do this
```
"""

from __future__ import annotations

from collections.abc import Iterable

from sabia.errors import SabiaError


class PlatformError(SabiaError):
    """Base of everything this package raises on purpose."""


class NoStore(PlatformError):
    """Neither a URL nor a running stack names a store."""

    exit_code = 5

    def __init__(self) -> None:
        super().__init__("No store: give --store URL, set SABIA_STORE, or start a stack with `sabia up`.")


class NoModel(PlatformError):
    """The platform serves no model, or no version of the one named."""

    exit_code = 3

    def __init__(self, namespace: str, model: str | None = None) -> None:
        what = "no model" if model is None else f"no version of {model!r}"
        super().__init__(f"Namespace {namespace} serves {what}.")


class ModelUnnamed(PlatformError):
    """The platform serves several models, and none was named."""

    exit_code = 2

    def __init__(self, namespace: str, models: Iterable[str]) -> None:
        super().__init__(f"Namespace {namespace} serves {', '.join(models)}; name one with --model.")


class NotOffered(PlatformError):
    """The platform does not do this."""

    exit_code = 2
