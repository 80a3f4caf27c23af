"""Serving skew: does the published artifact compute the predictions that were logged?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sabia.contract.manifest import Manifest
from sabia.contract.signature import Input
from sabia.errors import SabiaError
from sabia.monitoring import queries
from sabia.monitoring.archive import Archive
from sabia.monitoring.document import Skew
from sabia.monitoring.sql import number
from sabia.registry.verification import Artifact
from sabia.serving.inference.batch import NUMPY, Batch
from sabia.serving.inference.loading import open_model
from sabia.serving.inference.model import Model
from sabia.serving.inference.typed import Served

_ROWS = 1000
# Numbers closer than this, relative to the larger of them and 1, are the same.
_CLOSE = 1e-6


def measure_skew(archive: Archive, artifact: Artifact, columns: Mapping[str, str]) -> Skew | str:
    """Predict some logged rows again and compare; or the reason why they cannot be.

    Only rows with every input are used: a value that is missing in the log may have been there, and redacted.
    `columns` are the logged columns by input.
    """
    manifest = artifact.manifest
    reason = _why_not(manifest, columns)
    if reason:
        return reason
    is_label = manifest.signature.primary_output.role == "label"
    expressions = [_expression(each, columns[each.name]) for each in manifest.inputs]
    column = "predicted_class" if is_label else "prediction"
    logged, rows = queries.complete_rows(archive, manifest.version, column, expressions, _ROWS)
    if not logged:
        return "the log has no row with every input"
    try:
        predicted = _predict(open_model(artifact), manifest.inputs, rows)
    except SabiaError as error:
        return f"the artifact does not predict them ({str(error).rstrip('.')})"
    return _compare_classes(logged, predicted) if is_label else _compare_numbers(logged, predicted)


def _why_not(manifest: Manifest, columns: Mapping[str, str]) -> str:
    """Why no row can be predicted again; empty if one can."""
    role = manifest.signature.primary_output.role
    if manifest.runtime.kind != "onnx":
        return "the version is code"
    if role not in ("probability", "value", "label"):
        return f"the log has no {role} that could be compared"
    if any(each.name not in columns or each.dtype == "bytes" for each in manifest.inputs):
        return "not every input is in the log as it was"
    return ""


def _compare_classes(logged: Sequence[str], predicted: NDArray[Any]) -> Skew:
    different = sum(str(one) != other for one, other in zip(predicted, logged, strict=True))
    return Skew(len(logged), float(different > 0), different)


def _compare_numbers(logged: Sequence[float], predicted: NDArray[Any]) -> Skew:
    values = np.asarray(logged, dtype=np.float64)
    distance = np.abs(np.asarray(predicted, dtype=np.float64) - values)
    return Skew(len(logged), float(distance.max()), int((distance > _CLOSE * np.maximum(1, np.abs(values))).sum()))


def _expression(each: Input, column: str) -> str:
    return f'CAST("{column}" AS VARCHAR)' if each.dtype == "string" else number(column, each.dtype)


def _predict(model: Served, inputs: Sequence[Input], rows: Sequence[Sequence[Any]]) -> NDArray[Any]:
    """The primary output of rows, shape (rows,)."""
    if isinstance(model, Model):
        return model.predict(np.asarray(rows, dtype=np.float64))
    columns = {
        each.name: np.array([row[at] for row in rows], dtype=NUMPY[each.dtype]) for at, each in enumerate(inputs)
    }
    outputs: dict[str, NDArray[Any]] = model.predict(Batch(len(rows), columns))
    return outputs[model.primary.name]
