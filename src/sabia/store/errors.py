"""What can go wrong between a model and its store.

```
ArtifactError
├── InvalidName            a model, version, alias or store URL is not written as it must be
├── NotFound
│   ├── KeyNotFound        nothing lies under this key
│   ├── VersionNotFound    no manifest claims this version
│   └── AliasNotFound      nobody has set this alias
├── IntegrityError         what lies in the store is not what a manifest promised
│   ├── MissingManifest
│   ├── InvalidManifest
│   ├── UnknownSchema
│   ├── MissingFile
│   ├── WrongSize
│   └── WrongDigest
├── Conflict
│   ├── KeyTaken           a create-only key holds other bytes
│   └── AliasMoved         somebody moved the alias first
├── ClaimsExhausted        every number tried was taken by somebody else
└── StoreError             the store did not do what it was asked
    ├── StoreRefused       permanent: credentials, permissions, configuration
    └── StoreUnavailable   temporary: worth trying again
```

Constructors take facts and build the sentence. Messages name keys and versions, never credentials, bodies or paths of
the machine.
"""

from __future__ import annotations

from sabia.errors import SabiaError


class ArtifactError(SabiaError):
    """Base of everything this package raises on purpose."""


class InvalidName(ArtifactError):
    """A name is not written as the layout needs it."""

    exit_code = 2

    def __init__(self, kind: str, given: str, rule: str) -> None:
        super().__init__(f"{kind} {given!r} is not valid: {rule}.")


class NotFound(ArtifactError):
    """Base of what is not there."""

    exit_code = 3


class KeyNotFound(NotFound):
    """Nothing lies under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"The store has nothing under {key!r}.")
        self.key = key


class VersionNotFound(NotFound):
    """No manifest claims this version."""

    def __init__(self, name: str, version: str) -> None:
        super().__init__(f"Model {name!r} has no version {version!r}.")


class AliasNotFound(NotFound):
    """Nobody has set this alias."""

    def __init__(self, name: str, alias: str) -> None:
        super().__init__(f"Model {name!r} has no alias {alias!r}.")


class IntegrityError(ArtifactError):
    """What lies in the store is not what was promised; nothing may be made from it."""

    exit_code = 4


class MissingManifest(IntegrityError):
    """A prefix without manifest.json is not a version."""

    def __init__(self, where: str) -> None:
        super().__init__(f"There is no manifest.json at {where}, so there is no version to read.")


class InvalidManifest(IntegrityError):
    """manifest.json is not of the published schema."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"manifest.json is not valid: {reason}.")


class UnknownSchema(IntegrityError):
    """manifest.json was written by a release that this one does not know."""

    def __init__(self, found: object, known: int) -> None:
        super().__init__(f"manifest.json has schema_version {found!r}; this release reads {known}.")


class MissingFile(IntegrityError):
    """The manifest names a file that is not there."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is named by the manifest and is missing.")


class WrongSize(IntegrityError):
    """A file is shorter or longer than the manifest says."""

    def __init__(self, path: str, *, expected: int, found: int) -> None:
        super().__init__(f"{path} has {found} bytes; the manifest says {expected}.")


class WrongDigest(IntegrityError):
    """A file's bytes are not those that were published."""

    def __init__(self, path: str, *, expected: str, found: str) -> None:
        super().__init__(f"{path} has sha256 {found[:12]}…; the manifest says {expected[:12]}….")


class Conflict(ArtifactError):
    """Base of lost races."""


class KeyTaken(Conflict):
    """A create-only key holds other bytes than ours."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key!r} is taken by other content; nothing was overwritten.")
        self.key = key


class AliasMoved(Conflict):
    """The alias changed between reading and writing it."""

    def __init__(self, name: str, alias: str) -> None:
        super().__init__(f"Alias {alias!r} of {name!r} was moved by somebody else; read it again and decide anew.")


class ClaimsExhausted(ArtifactError):
    """Every number tried was taken by another publisher."""

    def __init__(self, name: str, tries: int) -> None:
        super().__init__(f"No number of {name!r} could be claimed in {tries} tries; publish again.")


class StoreError(ArtifactError):
    """Base of failures of the store itself."""

    exit_code = 5


class StoreRefused(StoreError):
    """The store answered no, and will answer no again."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"The store refused {what}: {reason}.")


class StoreUnavailable(StoreError):
    """The store did not answer, or failed; the same call may work later."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The store did not complete {what}; it may be unreachable or failing.")
