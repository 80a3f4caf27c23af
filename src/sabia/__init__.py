"""Publishes models as numbered versions, serves each of them, and moves traffic between them by evidence."""

import os
from typing import TYPE_CHECKING

# ONNX Runtime's wheels report what runs to their maker, from a thread of their own, unless told before they are
# imported. Nobody who serves a model has agreed to that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """The version of the installed package, read on demand: loading its metadata is slower than this module."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import version  # noqa: PLC0415

        return version("sabia")
