"""How schemathesis is asked to make calls from the documents that a server serves."""

from __future__ import annotations

import sys
from pathlib import Path

# How many operations of a document take a body.
OPERATIONS = {"v1": 3, "v2": 2}
# Of the checks, what a schema cannot say is left out: that a tensor's data must fit its shape.
LEFT_OUT = {"v1": "", "v2": "positive_data_acceptance"}


def command(url: str, protocol: str, examples: int) -> list[str]:
    """The command that sends `examples` requests to each operation with a body, and more to the others."""
    found = [
        str(Path(sys.executable).parent / "schemathesis"),
        "run",
        f"{url}/{protocol}/openapi.json",
        f"--max-examples={examples}",
        "--phases=examples,coverage,fuzzing",
        "--continue-on-failure",
        "--generation-database=none",
        "--suppress-health-check=all",
        "--warnings=off",
        "--no-color",
    ]
    return found + [f"--exclude-checks={LEFT_OUT[protocol]}"] * bool(LEFT_OUT[protocol])
