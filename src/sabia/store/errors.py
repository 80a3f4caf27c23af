"""Failures of an object store.

```
SabiaError
├── InvalidStoreUrl        a URL of another form
├── KeyNotFound            no object has this key
├── KeyTaken               the key holds other bytes
├── TooLarge               the key holds more than may be read
└── StoreError             the store did not do what it was asked
    ├── StoreRefused       permanent: credentials, permissions, configuration
    └── StoreUnavailable   temporary: worth trying again
```

Constructors take facts and build the sentence. Messages name keys, never credentials, bodies or paths of the machine.
"""

from __future__ import annotations

from sabia.errors import SabiaError


class InvalidStoreUrl(SabiaError):
    """The URL of a store is of another form."""

    exit_code = 2

    def __init__(self, given: str, rule: str) -> None:
        super().__init__(f"store URL {given!r} is not valid: {rule}.")


class KeyNotFound(SabiaError):
    """No object has this key."""

    exit_code = 3

    def __init__(self, key: str) -> None:
        super().__init__(f"The store has nothing under {key!r}.")
        self.key = key


class KeyTaken(SabiaError):
    """The key holds other bytes than those to be written, or than those that were read before."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key!r} is taken by other content; nothing was overwritten.")
        self.key = key


class TooLarge(SabiaError):
    """The key holds more bytes than the caller reads."""

    exit_code = 4

    def __init__(self, key: str, size: int, limit: int) -> None:
        super().__init__(f"{key!r} has {size:,} bytes; at most {limit:,} are read.")
        self.key, self.size = key, size


class StoreError(SabiaError):
    """Base of failures of the store itself."""

    exit_code = 5


class StoreRefused(StoreError):
    """The store refused, and will refuse again."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"The store refused {what}: {reason}.")


class StoreUnavailable(StoreError):
    """The store did not respond, or failed; the same call may work later."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The store did not complete {what}; it may be unreachable or failing.")
