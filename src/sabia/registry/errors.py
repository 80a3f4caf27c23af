"""Versions and aliases that do not exist, were moved, or are not what was published.

```
RegistryError
├── VersionNotFound     no manifest claims this version
├── AliasNotFound       the alias points to no version
├── AliasMoved          another writer moved the alias first
├── Incomparable        two versions differ in what they predict
├── ClaimsExhausted     other publishers took every number that was tried
└── IntegrityError      the store holds something else than was published
    ├── MissingManifest
    ├── MissingFile
    ├── WrongSize
    ├── WrongDigest
    └── InvalidAlias
```
"""

from __future__ import annotations

from sabia.errors import SabiaError


class RegistryError(SabiaError):
    """Base of everything that this package raises on purpose."""


class VersionNotFound(RegistryError):
    """No manifest claims this version."""

    exit_code = 3

    def __init__(self, name: str, version: str) -> None:
        super().__init__(f"Model {name!r} has no version {version!r}.")


class AliasNotFound(RegistryError):
    """The alias was never set, or is retired."""

    exit_code = 3

    def __init__(self, name: str, alias: str) -> None:
        super().__init__(f"Model {name!r} has no alias {alias!r}.")


class AliasMoved(RegistryError):
    """The alias changed between reading and writing it."""

    def __init__(self, name: str, alias: str) -> None:
        super().__init__(f"Alias {alias!r} of {name!r} was moved by another writer; read it again before moving it.")


class Incomparable(RegistryError):
    """Two versions differ in what they predict, so that no evidence can compare them."""

    exit_code = 2

    def __init__(self, model: str, first: str, second: str, reason: str) -> None:
        super().__init__(f"Versions {first} and {second} of {model!r} cannot be compared: {reason}.")


class ClaimsExhausted(RegistryError):
    """Every number tried was taken by another publisher."""

    def __init__(self, name: str, tries: int) -> None:
        super().__init__(f"No number of {name!r} could be claimed in {tries} tries; publish again.")


class IntegrityError(RegistryError):
    """The store holds something else than was published; nothing may be made from it."""

    exit_code = 4


class MissingManifest(IntegrityError):
    """A prefix without manifest.json is not a version."""

    def __init__(self, where: str) -> None:
        super().__init__(f"There is no manifest.json at {where}, so there is no version to read.")


class MissingFile(IntegrityError):
    """The manifest names a file that does not exist."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is named by the manifest and is missing.")


class WrongSize(IntegrityError):
    """A file is shorter or longer than the manifest states."""

    def __init__(self, path: str, *, expected: int, actual: int | None = None) -> None:
        found = "more bytes" if actual is None else f"{actual} bytes"
        super().__init__(f"{path} has {found}; the manifest says {expected}.")


class WrongDigest(IntegrityError):
    """A file's bytes are not those that were published."""

    def __init__(self, path: str, *, expected: str, actual: str) -> None:
        super().__init__(f"{path} has sha256 {actual[:12]}…; the manifest says {expected[:12]}….")


class InvalidAlias(IntegrityError):
    """The file of an alias is not of the published form."""

    def __init__(self, alias: str, reason: str) -> None:
        super().__init__(f"Alias {alias!r} cannot be read: {reason}.")
