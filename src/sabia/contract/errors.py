"""Names and files that are not of the contract's form.

```
ContractError
├── InvalidName             a model, version or alias is not written as the layout needs it
├── InvalidSignature        inputs, outputs or bins contradict themselves, or have names that cannot be served
└── InvalidFile             a stored file is not of its format
    ├── InvalidManifest     manifest.json
    ├── UnknownSchema       manifest.json of another release
    ├── InvalidReference    reference.json
    └── InvalidState        state.json
```
"""

from __future__ import annotations

from collections.abc import Sequence

from sabia.errors import SabiaError


class ContractError(SabiaError):
    """Base of everything that this package raises on purpose."""


class InvalidName(ContractError):
    """A name is not written as the layout needs it."""

    exit_code = 2

    def __init__(self, kind: str, given: str, rule: str) -> None:
        super().__init__(f"{kind} {given!r} is not valid: {rule}.")


class InvalidSignature(ContractError):
    """Inputs, outputs or bins contradict themselves, or have names that cannot be served."""

    exit_code = 2

    def __init__(self, reason: str) -> None:
        super().__init__(f"The signature is not valid: {reason}.")


class InvalidFile(ContractError):
    """Base of stored files that are not of their format."""

    exit_code = 4


class InvalidManifest(InvalidFile):
    """manifest.json is not of the published schema."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"manifest.json is not valid: {reason}.")


class UnknownSchema(InvalidFile):
    """manifest.json was written by a release that this one does not know."""

    def __init__(self, given: object, readable: Sequence[int]) -> None:
        known = " and ".join(map(str, readable))
        super().__init__(f"manifest.json has schema_version {given!r}; this release reads {known}.")


class InvalidReference(InvalidFile):
    """reference.json is not of the published schema."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"reference.json is not valid: {reason}.")


class InvalidState(InvalidFile):
    """state.json is not of the published form."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"state.json is not valid: {reason}.")
