"""CARD.md: the model card of a version, filled with what was measured.

It leaves out number, time and commit: they belong to the claim, in manifest.json, which names this file.
"""

from __future__ import annotations

import json
from typing import Any

from sabia.contract.manifest import Dataset, Evaluation, Methods
from sabia.contract.signature import Input

_TEMPLATE = """\
---
library_name: onnx
tags: [tabular-classification, sabia]
model_name: {name}
---
# {name}

Predicts the probability of **{target}** from {columns} named features, as a number in [0, 1].

## Methods
{estimator}, fingerprint `{fingerprint}`.

## Hyper-parameters
```json
{hyper_params}
```

## Data
{rows} training rows of `{dataset}`, sha256 `{dataset_sha256}`.

## Evaluation on {evaluated} held-out rows
| metric | value |
|---|---|
| accuracy at 0.5 | {accuracy:.4f} |
| ROC AUC | {roc_auc:.4f} |
| log loss | {log_loss:.4f} |
| Brier score | {brier_score:.4f} |
| expected calibration error | {calibration_error:.4f} |
| largest distance of the served model to the estimator | {parity_max_error:.2g} |

## Features
| name | unit | training minimum | training maximum |
|---|---|---|---|
{features}

## Limits
Trained and evaluated on one data set. An input outside the training range gets a prediction and is counted.
"""


def card(
    *,
    name: str,
    methods: Methods,
    target: str,
    hyper_params: dict[str, Any],
    inputs: list[Input],
    metrics: Evaluation,
    dataset: Dataset,
) -> bytes:
    """The bytes of CARD.md."""
    table = (f"| {item.name} | {item.unit} | {item.minimum:g} | {item.maximum:g} |" for item in inputs)
    text = _TEMPLATE.format(
        name=name,
        target=target,
        columns=len(inputs),
        estimator=" → ".join(methods.estimator),
        fingerprint=methods.fingerprint[:12],
        hyper_params=json.dumps(hyper_params, indent=2, sort_keys=True),
        rows=dataset.rows,
        dataset=dataset.uri,
        dataset_sha256=dataset.sha256,
        evaluated=metrics.rows,
        accuracy=metrics.values["accuracy"],
        roc_auc=metrics.values["roc_auc"],
        log_loss=metrics.values["log_loss"],
        brier_score=metrics.values["brier_score"],
        calibration_error=metrics.values["calibration_error"],
        parity_max_error=metrics.parity_max_error,
        features="\n".join(table),
    )
    return text.encode()
