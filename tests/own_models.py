"""Code as a team writes it for KServe's SDK: a model with steps before and after it, for the matrix."""

from __future__ import annotations

from typing import Any

import kserve
import numpy as np


class BodyMass(kserve.Model):
    """The mass of a penguin in grams from the lengths of its bill and flippers, by both protocols."""

    def load(self) -> bool:
        self.ready = True
        return True

    def preprocess(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """The request, and its rows as an array of shape (rows, 2) in centimetres."""
        if isinstance(payload, kserve.InferRequest):
            columns = {each.name: each.as_numpy().ravel() for each in payload.inputs}
            rows = np.column_stack([columns["bill_length_mm"], columns["flipper_length_mm"]])
        else:
            rows = np.array([[row["bill_length_mm"], row["flipper_length_mm"]] for row in payload["instances"]])
        return payload, rows / 10

    def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        request, rows = payload
        return request, 50 * rows[:, 0] + 100 * rows[:, 1]

    def postprocess(self, result: Any, headers: dict[str, str] | None = None) -> Any:
        """The response, rounded to whole grams."""
        request, grams = result
        grams = np.round(grams)
        if not isinstance(request, kserve.InferRequest):
            return {"predictions": grams.tolist()}
        output = kserve.InferOutput("prediction", list(grams.shape), "FP64")
        output.set_data_from_numpy(grams, binary_data=bool(request.use_binary_outputs))
        return kserve.InferResponse(
            request.id or "none", self.name, [output], use_binary_outputs=request.use_binary_outputs
        )
