"""Small drafts and versions for tests: real manifests around files of a few bytes."""

from __future__ import annotations

from typing import Any

from sabia.contract.manifest import Dataset, Evaluation, Provenance, fingerprint
from sabia.contract.signature import Bins, Input, Output, Signature
from sabia.registry.claim import Draft

PROBABILITY = Output(name="prediction", dtype="float64", role="probability", range=(0.0, 1.0))
SIGNATURE = Signature(
    inputs=[Input(name="x", dtype="float64", unit="1", minimum=0.0, maximum=1.0)],
    outputs=[PROBABILITY],
    primary="prediction",
    bins=Bins(kind="equal", count=20, range=(0.0, 1.0)),
)
EVALUATION = Evaluation(
    task="binary",
    rows=10,
    values={"accuracy": 0.9, "roc_auc": 0.95, "log_loss": 0.2, "brier_score": 0.1, "calibration_error": 0.05},
    parity_max_error=0.0,
)
PROVENANCE = Provenance(
    dataset=Dataset(uri="test:rows", sha256="0" * 64, rows=10),
    git=None,
    python="3.11",
    libraries={},
    opset={"ai.onnx": 17},
)


def a_draft(methods: str = "linear", content: str = "a", *, name: str = "toy", **changed: Any) -> Draft:
    """A draft whose methods and content are told apart by the two words."""
    facts: dict[str, Any] = {
        "name": name,
        "created_at": "2026-01-01T00:00:00Z",
        "methods": fingerprint(SIGNATURE, estimator=[methods]),
        "hyper_params": {},
        "signature": SIGNATURE,
        "target": "y",
        "metrics": EVALUATION,
        "provenance": PROVENANCE,
        "files": {
            "model.onnx": f"{methods} {content}".encode(),
            "state.json": b"{}",
            "reference.json": b"{}",
            "CARD.md": b"# toy\n",
        },
    }
    return Draft(**(facts | changed))


def contents(draft: Draft) -> dict[str, bytes]:
    """The files of a small draft."""
    return {name: data for name, data in draft.files.items() if isinstance(data, bytes)}
