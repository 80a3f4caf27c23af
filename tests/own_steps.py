"""A team's own steps around a published version, for the matrix; without KServe's SDK."""

from __future__ import annotations

from typing import Any

from sabia.serving import ArtifactModel


class Rounded(ArtifactModel):
    """Takes more than the version knows, and answers in whole numbers."""

    def preprocess(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        return {name: value for name, value in payload.items() if name != "tenant"}

    async def postprocess(self, result: Any, headers: dict[str, str] | None = None) -> Any:
        if "predictions" in result:
            return result | {"predictions": [round(each) for each in result["predictions"]]}
        (output,) = result["outputs"]
        return result | {"outputs": [output | {"data": [float(round(each)) for each in output["data"]]}]}
