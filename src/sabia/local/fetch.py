"""`python -m sabia.local.fetch URI FOLDER`: bring a version to a folder, as KServe's storage initializer does."""

from __future__ import annotations

import sys

from kserve_storage import Storage


def main() -> None:
    """Download; KServe's own package decides how."""
    uri, folder = sys.argv[1:]
    Storage.download(uri, folder)


if __name__ == "__main__":
    main()
