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

Predicts {predicts} from {columns} named features{form}.{origin}

## Methods
{estimator}, fingerprint `{fingerprint}`.
{hyper_params}
## Data
{data}

## {evaluation}

## Features
| name | type | unit | in the training rows |
|---|---|---|---|
{features}

## Outputs
| name | type | role |
|---|---|---|
{outputs}

## Limits
{limits} An input outside the training range, or a category that training never met, {unseen}.
"""
_HYPER_PARAMS = """
## Hyper-parameters
```json
{}
```
"""
_NOT_HELD_OUT = " The rows of the evaluation are those of the training: expect less elsewhere."
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


def card(  # noqa: PLR0913  what is known of a version
    *,
    name: str,
    methods: Methods,
    target: str,
    hyper_params: dict[str, Any],
    signature: Signature,
    metrics: Evaluation,
    dataset: Dataset | None,
    held_out: bool = True,
    graph: str | None = None,
) -> bytes:
    """The bytes of CARD.md.

    `held_out`: whether the rows of the evaluation are none of the training. `graph`: the ONNX file that the version is,
    whose training is not known.
    """
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
        origin=f" Imported from `{graph}`." if graph else "",
        columns=len(signature.inputs),
        estimator=" → ".join(methods.estimator) or "A graph",
        fingerprint=methods.fingerprint[:12],
        hyper_params="" if graph else _HYPER_PARAMS.format(json.dumps(hyper_params, indent=2, sort_keys=True)),
        data=data,
        evaluation=_comparison(metrics) if graph else _evaluation(metrics, held_out=held_out),
        features="\n".join(map(_feature, signature.inputs)),
        outputs="\n".join(_row(each.name, _type(each), each.role) for each in signature.outputs),
        limits="How the model was trained, and how good it is, was not stated."
        if graph
        else f"Trained and evaluated on one data set.{'' if held_out else _NOT_HELD_OUT}",
        unseen="is refused where the input is strict, else counted" if strict else "gets a prediction and is counted",
    )
    return text.encode()


def _evaluation(metrics: Evaluation, *, held_out: bool) -> str:
    names = _METRICS | ({"accuracy": "accuracy at 0.5"} if metrics.task == "binary" else {})
    values = [f"| {names.get(key, key.replace('_', ' '))} | {value:.4f} |" for key, value in metrics.values.items()]
    if metrics.parity_max_error is not None:
        values.append(f"| largest distance of the served model to the estimator | {metrics.parity_max_error:.2g} |")
    rows = f"{metrics.rows} {'held-out' if held_out else 'training'} rows"
    return "\n".join([f"Evaluation on {rows}", "| metric | value |", "|---|---|", *values])


def _comparison(metrics: Evaluation) -> str:
    if metrics.parity_max_error is None:
        return "Check\nNo expected answers were given: that the graph is the model its author meant was not checked."
    found = f"Its answers for {metrics.rows} rows are at most {metrics.parity_max_error:.2g} from those expected."
    return f"Check\n{found}"


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
    elif not each.is_scalar:
        seen = "any"
    return _row(each.name, f"{_type(each)} or null" if each.nullable else _type(each), each.unit, seen)


def _type(each: Input | Output) -> str:
    sizes = ["any" if size is None else str(size) for size in each.shape[1:]]
    return f"{each.dtype} [{', '.join(sizes)}]" if sizes else each.dtype


def _row(*cells: str) -> str:
    shown = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(shown)} |"
