"""The differences between two versions: methods, signature, data, hyper-parameters, parameters, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from sabia.contract import state as states
from sabia.contract.layout import version_prefix
from sabia.contract.manifest import CARD_FILE, REFERENCE_FILE, STATE_FILE, Manifest
from sabia.contract.state import State
from sabia.registry.verification import read_file
from sabia.store.objects import Store

# By what they belong to, the fields that differ, each with its value before and after.
Differences = dict[str, dict[str, tuple[Any, Any]]]

# What the training rows determined is a difference of the data, and is left out.
_INPUT_FIELDS = ("dtype", "shape", "nullable", "unit", "categories", "strict", "fill", "log")


def state_of(store: Store, manifest: Manifest) -> State:
    """The parameters of a version, verified.

    Raises:
        IntegrityError, InvalidState: they are missing, or not what was published.
        StoreError: the store failed.
    """
    prefix = version_prefix(manifest.name, manifest.number)
    return states.decode(read_file(store, prefix, manifest.file(STATE_FILE)))


def differences(before: tuple[Manifest, State], after: tuple[Manifest, State]) -> Differences:
    """The fields that differ; a kind without any is left out.

    A list of one parameter for each input has the inputs' names. If files differ and no parameter that `state.json`
    holds does, the digests of those files stand for the parameters.
    """
    pairs = {kind: (old, _facts(*after)[kind]) for kind, old in _facts(*before).items()}
    found = {kind: _changed(old, new) for kind, (old, new) in pairs.items()}
    found["parameters"] = found["parameters"] or _changed(_digests(before[0]), _digests(after[0]))
    return {kind: fields for kind, fields in found.items() if fields}


def _facts(manifest: Manifest, state: State) -> dict[str, dict[str, Any]]:
    metrics = manifest.metrics
    return {
        "methods": msgspec.to_builtins(manifest.methods),
        "signature": dict(_signature(manifest)),
        "data": msgspec.to_builtins(manifest.provenance.dataset) or {},
        "hyper-parameters": manifest.hyper_params,
        "parameters": dict(_flat("", state.params, [each.name for each in manifest.inputs])),
        "metrics": {
            "task": metrics.task,
            "rows": metrics.rows,
            "parity_max_error": metrics.parity_max_error,
        }
        | metrics.values,
    }


def _signature(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    for each in manifest.inputs:
        yield f"input {each.name}", {field: getattr(each, field) for field in _INPUT_FIELDS}
    for output in manifest.outputs:
        yield f"output {output.name}", msgspec.to_builtins(output)
    yield "primary", manifest.primary
    yield "bins", msgspec.to_builtins(manifest.bins)


def _flat(path: str, value: Any, inputs: list[str]) -> Iterator[tuple[str, Any]]:
    """The leaves of nested parameters, by path such as `coefficients[age]` or `trees.depth`."""
    match value:
        case dict():
            for name, each in value.items():
                yield from _flat(f"{path}.{name}" if path else str(name), each, inputs)
        case list():
            names = inputs if len(value) == len(inputs) else range(len(value))
            for name, each in zip(names, value, strict=True):
                yield from _flat(f"{path}[{name}]", each, inputs)
        case _:
            yield path, value


def _digests(manifest: Manifest) -> dict[str, str]:
    return {file.name: file.sha256 for file in manifest.files if file.name not in (CARD_FILE, REFERENCE_FILE)}


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    fields = [*before, *(field for field in after if field not in before)]
    return {field: (before.get(field), after.get(field)) for field in fields if before.get(field) != after.get(field)}
