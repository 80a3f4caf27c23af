"""`sabia fetch URI FOLDER`: copy a version to a folder, as KServe's storage initializer does; `sabia up` starts it."""

from __future__ import annotations

from collections.abc import Sequence

from kserve_storage import Storage


def main(arguments: Sequence[str]) -> int:
    """Download; KServe's own package decides how."""
    uri, folder = arguments
    Storage.download(uri, folder)
    return 0
