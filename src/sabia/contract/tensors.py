"""Names of the tensors of `model.onnx`, of its V2 requests and of its V2 responses."""

from __future__ import annotations

# Rows of features, shape (rows, columns).
INPUT = "features"
# One prediction for each row, shape (rows,).
OUTPUT = "prediction"
