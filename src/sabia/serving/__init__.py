"""Serves one version over HTTP and gRPC.

`ArtifactModel` is public, and imported on first use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sabia.serving.custom.artifact import ArtifactModel
else:

    def __getattr__(name: str) -> object:
        if name != "ArtifactModel":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from sabia.serving.custom.artifact import ArtifactModel  # noqa: PLC0415  on first use

        return ArtifactModel


__all__ = ["ArtifactModel"]
