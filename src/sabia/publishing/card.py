"""CARD.md: the model card of a version, filled with what was measured.

It leaves out number, time and commit: they belong to the claim, in manifest.json, which names this file.
"""

from __future__ import annotations

import json
from typing import Any

from sabia.contract.manifest import Dataset, Evaluation, Methods
from sabia.contract.signature import Input, Output, Signature

_TEMPLATE = """\
---
library_name: onnx
tags: [{tag}, sabia]
model_name: {name}
---
# {name}

Predicts {predicts} from {columns} named features{form}.

## Methods
{estimator}, fingerprint `{fingerprint}`.

## Hyper-parameters
```json
{hyper_params}
```

## Data
{data}

## Evaluation on {evaluated} {held_out} rows
| metric | value |
|---|---|
{metrics}

## Features
| name | type | unit | in the training rows |
|---|---|---|---|
{features}

## Limits
Trained and evaluated on one data set.{not_held_out} An input outside the training range, or a category that training \
never met, {unseen}.
"""
_METRICS = {
    "accuracy": "accuracy",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "brier_score": "Brier score",
    "calibration_error": "expected calibration error",
    "macro_f1": "F1, mean of the classes",
    "balanced_accuracy": "balanced accuracy",
    "rmse": "root mean squared error",
    "mae": "mean absolute error",
    "r2": "R²",
}
_SHOWN_CATEGORIES = 12


def card(
    *,
    name: str,
    methods: Methods,
    target: str,
    hyper_params: dict[str, Any],
    signature: Signature,
    metrics: Evaluation,
    dataset: Dataset | None,
    held_out: bool = True,
) -> bytes:
    """The bytes of CARD.md; `held_out`: whether the rows of the evaluation are none of the training."""
    names = _METRICS | ({"accuracy": "accuracy at 0.5"} if metrics.task == "binary" else {})
    values = [f"| {names.get(key, key.replace('_', ' '))} | {value:.4f} |" for key, value in metrics.values.items()]
    if metrics.parity_max_error is not None:
        values.append(f"| largest distance of the served model to the estimator | {metrics.parity_max_error:.2g} |")
    primary = signature.primary_output
    strict = any(each.strict for each in signature.inputs)
    data = "Unstated."
    if dataset is not None:
        data = f"{dataset.rows} training rows of `{dataset.uri}`, sha256 `{dataset.sha256}`."
    text = _TEMPLATE.format(
        tag="tabular-regression" if primary.role == "value" else "tabular-classification",
        name=name,
        predicts=_predicts(primary, target),
        form=", as a number in [0, 1]" if primary.role == "probability" else "",
        columns=len(signature.inputs),
        estimator=" → ".join(methods.estimator) or "A graph",
        fingerprint=methods.fingerprint[:12],
        hyper_params=json.dumps(hyper_params, indent=2, sort_keys=True),
        data=data,
        evaluated=metrics.rows,
        held_out="held-out" if held_out else "training",
        not_held_out=""
        if held_out
        else " The rows of the evaluation are those of the training: expect less elsewhere.",
        metrics="\n".join(values),
        features="\n".join(map(_feature, signature.inputs)),
        unseen="is refused where the input is strict, else counted" if strict else "gets a prediction and is counted",
    )
    return text.encode()


def _predicts(primary: Output, target: str) -> str:
    if primary.role == "probability":
        of = "" if primary.classes in (None, [0, 1]) or primary.classes is None else f" = {primary.classes[-1]}"
        return f"the probability of **{target}{of}**"
    if primary.classes:
        return f"**{target}**, one of {', '.join(map(str, primary.classes[:20]))},"
    return f"**{target}**"


def _feature(each: Input) -> str:
    seen = "any text"
    if each.categories is not None:
        shown = [str(value) for value in each.categories[:_SHOWN_CATEGORIES]]
        more = len(each.categories) - len(shown)
        seen = ", ".join(shown) + (f" and {more} more" if more else "")
    elif each.minimum is not None and each.maximum is not None:
        seen = f"{each.minimum:g} to {each.maximum:g}"
    elif each.dtype == "bool":
        seen = "true, false"
    kind = f"{each.dtype} or null" if each.nullable else each.dtype
    cells = (cell.replace("|", "\\|").replace("\n", " ") for cell in (each.name, kind, each.unit, seen))
    return f"| {' | '.join(cells)} |"
