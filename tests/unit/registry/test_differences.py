"""What two versions differ in."""

from __future__ import annotations

import msgspec

from sabia.contract.layout import Version
from sabia.registry.catalogue import manifest_of
from sabia.registry.claim import publish
from sabia.registry.differences import Differences, differences, state_of
from sabia.store.objects import Store
from tests.conftest import MODEL
from tests.drafts import SIGNATURE, a_draft


def between(store: Store, name: str, first: str, second: str) -> Differences:
    """The differences between two stored versions."""
    pair = [manifest_of(store, name, Version.parse(text)) for text in (first, second)]
    before, after = [(manifest, state_of(store, manifest)) for manifest in pair]
    return differences(before, after)


def files(state: bytes, graph: bytes = b"graph") -> dict[str, bytes]:
    """The files of a version with this state."""
    return {"model.onnx": graph, "state.json": state, "reference.json": b"{}", "CARD.md": b"# toy"}


def test_both_values_of_what_changed_are_given(published: Store) -> None:
    found = between(published, MODEL, "1.1", "1.2")
    assert found["hyper-parameters"] == {"alpha": (1.0, 30.0)}
    assert "coefficients[mean radius]" in found["parameters"]
    assert "signature" not in found


def test_a_version_differs_from_itself_in_nothing(published: Store) -> None:
    assert between(published, MODEL, "2.0", "2.0") == {}


def test_parameters_alone_are_a_difference(store: Store) -> None:
    publish(store, a_draft(files=files(b'{"params": {"weights": [1.0], "tree": {"depth": 2}}}')))
    publish(store, a_draft(files=files(b'{"params": {"weights": [1.5], "tree": {"depth": 3}}}')))
    changed = {"weights[x]": (1.0, 1.5), "tree.depth": (2, 3)}
    assert between(store, "toy", "1.0", "1.1") == {"parameters": changed}


def test_parameters_that_only_the_graph_holds_are_compared_by_its_digest(store: Store) -> None:
    publish(store, a_draft(files=files(b'{"params": {}}', b"one")))
    publish(store, a_draft(files=files(b'{"params": {}}', b"another")))
    found = between(store, "toy", "1.0", "1.1")
    assert list(found) == ["parameters"]
    assert list(found["parameters"]) == ["model.onnx"]


def test_another_input_is_a_difference_of_the_signature(store: Store) -> None:
    other = msgspec.structs.replace(SIGNATURE.inputs[0], name="y", nullable=True)
    wider = msgspec.structs.replace(SIGNATURE, inputs=[*SIGNATURE.inputs, other])
    state = files(b'{"params": {}}')
    publish(store, a_draft(files=state))
    publish(store, a_draft("other", signature=wider, files=files(b'{"params": {}}', b"wider")))
    assert list(between(store, "toy", "1.0", "2.0")["signature"]) == ["input y"]
