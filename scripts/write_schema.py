"""`python scripts/write_schema.py`: write docs/manifest.schema.json from the code that reads manifests."""

from __future__ import annotations

import json
from pathlib import Path

from sabia.contract.manifest import json_schema

TARGET = Path(__file__).parents[1] / "docs" / "manifest.schema.json"


def main() -> None:
    """Write the schema."""
    TARGET.write_text(json.dumps(json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
