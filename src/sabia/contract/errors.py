"""Files of a version that are not of their format.

```
ContractError
├── InvalidReference    reference.json
└── InvalidState        state.json
```
"""

from __future__ import annotations

from sabia.errors import SabiaError


class ContractError(SabiaError):
    """Base of everything that this package raises on purpose."""

    exit_code = 4


class InvalidReference(ContractError):
    """reference.json is not of the published schema."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"reference.json is not valid: {reason}.")


class InvalidState(ContractError):
    """state.json is not of the published form."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"state.json is not valid: {reason}.")
