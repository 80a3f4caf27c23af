"""manifest.json of schema 1, read into the form of the present schema: floats in, one number out.

Its fingerprint of the methods was computed otherwise. `fingerprint` computes it for new methods, so that the version
rule recognises methods that were published before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from sabia.contract.signature import Bins, Input, Output, bins_for
from sabia.contract.tensors import OUTPUT

_TASK_METRICS = ("accuracy", "roc_auc", "log_loss", "brier_score", "calibration_error")


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input column and the range of its training rows."""

    name: str
    dtype: str
    unit: str
    minimum: float
    maximum: float


class Prediction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The only output: "probability", or a number of another kind."""

    kind: str
    unit: str
    range: tuple[float, float] | None


class Methods(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The methods by their declared parts."""

    fingerprint: str
    estimator: list[str]
    features: list[tuple[str, str, str]]
    target: str
    prediction: str
    code_major: int


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The metrics of a binary classification."""

    rows: int
    accuracy: float
    roc_auc: float
    log_loss: float
    brier_score: float
    calibration_error: float
    parity_max_error: float


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of schema 1; what both schemas share is checked when it is converted."""

    schema_version: int
    name: str
    version: str
    created_at: str
    methods: Methods
    hyper_params: dict[str, Any]
    features: list[Feature]
    target: str
    prediction: Prediction
    metrics: Evaluation
    files: list[Any]
    provenance: dict[str, Any]
    parent: str | None


def upgrade(data: bytes) -> dict[str, Any]:
    """The document of schema 1 with the fields of the present schema; `schema_version` stays 1.

    Raises:
        msgspec.ValidationError: it does not follow schema 1.
    """
    old = msgspec.json.decode(data, type=Manifest)
    output = _output(old.prediction)
    bins = bins_for(output) or Bins(kind="none")
    inputs = [msgspec.convert(msgspec.structs.asdict(each), Input) for each in old.features]
    return {
        "schema_version": 1,
        "name": old.name,
        "version": old.version,
        "created_at": old.created_at,
        "methods": {
            "fingerprint": old.methods.fingerprint,
            "estimator": old.methods.estimator,
            "code_major": old.methods.code_major,
        },
        "hyper_params": old.hyper_params,
        "inputs": msgspec.to_builtins(inputs),
        "outputs": msgspec.to_builtins([output]),
        "primary": OUTPUT,
        "bins": msgspec.to_builtins(bins),
        "target": old.target,
        "metrics": {
            "task": "binary",
            "rows": old.metrics.rows,
            "values": {name: getattr(old.metrics, name) for name in _TASK_METRICS},
            "parity_max_error": old.metrics.parity_max_error,
        },
        "files": old.files,
        "provenance": old.provenance,
        "parent": old.parent,
    }


def _output(prediction: Prediction) -> Output:
    role = "probability" if prediction.kind == "probability" else "value"
    return msgspec.convert(
        {"name": OUTPUT, "dtype": "float64", "role": role, "unit": prediction.unit, "range": prediction.range}, Output
    )


def fingerprint(
    *, estimator: Sequence[str], features: Sequence[tuple[str, str, str]], target: str, prediction: str, code_major: int
) -> str:
    """The fingerprint of schema 1: estimator classes, (name, dtype, unit) of each feature in order, code major."""
    parts = {
        "code_major": code_major,
        "estimator": list(estimator),
        "features": [list(feature) for feature in features],
        "prediction": prediction,
        "target": target,
    }
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
