"""Signatures: what cannot be served is refused, and what differs cannot be compared."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.contract.errors import InvalidSignature
from sabia.contract.signature import (
    DTYPES,
    RESERVED_INPUTS,
    Bins,
    Input,
    Output,
    Signature,
    bins_for,
    check,
    difference,
)

SPECIES = Output(name="label", dtype="string", role="label", classes=["Adelie", "Chinstrap", "Gentoo"])
VALUE = Output(name="delay", dtype="float64", role="value", unit="min")
X = Input(name="x", dtype="float64")
NUMBERS = st.floats(-1e9, 1e9)


def a_signature(*inputs: Input, output: Output = SPECIES, bins: Bins | None = None, **changed: Any) -> Signature:
    """A signature with one output, which is the primary one."""
    fields: dict[str, Any] = {
        "inputs": list(inputs) or [X],
        "outputs": [output],
        "primary": output.name,
        "bins": bins or bins_for(output) or Bins(kind="edges", edges=[0.0]),
    }
    return Signature(**(fields | changed))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_can_be_an_input(dtype: Any) -> None:
    check(a_signature(Input(name="a", dtype=dtype)))
    check(a_signature(Input(name="a", dtype=dtype, shape=[None, 3, None])))


@pytest.mark.parametrize("name", sorted(RESERVED_INPUTS))
def test_a_column_with_a_name_of_the_protocols_is_refused(name: str) -> None:
    with pytest.raises(InvalidSignature, match=f"'{name}'.*rename"):
        check(a_signature(Input(name=name, dtype="float64"), X))


@pytest.mark.parametrize("name", ["features", "inputs"])
def test_the_only_tensor_may_have_any_name(name: str) -> None:
    check(a_signature(Input(name=name, dtype="float32", shape=[None, 3, 224, 224])))


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([X, X], "'x' is given twice"),
        ([Input(name=" x", dtype="float64")], "space"),
        ([Input(name="a\nb", dtype="float64")], "control character"),
        ([Input(name="x", dtype="float64", minimum=float("nan"))], "not finite"),
        ([Input(name="x", dtype="float64", maximum=float("inf"))], "not finite"),
        ([Input(name="x", dtype="float64", shape=[3])], "first dimension"),
        ([Input(name="x", dtype="string", nullable=True)], "needs a fill"),
        ([Input(name="x", dtype="bool", nullable=True)], "nullable and bool"),
        ([Input(name="x", dtype="float64", categories=["a"])], "only strings and int64"),
        ([Input(name="x", dtype="string", strict=True)], "strict without categories"),
    ],
)
def test_an_input_that_cannot_be_served_is_refused(inputs: list[Input], reason: str) -> None:
    with pytest.raises(InvalidSignature, match=reason):
        check(a_signature(*inputs))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"primary": "other"}, "'other' is not one of the outputs"),
        ({"outputs": [SPECIES, SPECIES]}, "'label' is given twice"),
        ({"outputs": [Output(name="label", dtype="string", role="label")]}, "without classes"),
        ({"outputs": [Output(name="label", dtype="string", role="value")]}, "must be numeric"),
        ({"outputs": [Output(name="label", dtype="float64", role="value", shape=[None, 2])]}, "shape"),
        ({"bins": Bins(kind="equal")}, "need a count"),
        ({"bins": Bins(kind="equal", count=2, range=(1.0, 1.0))}, "ascending range"),
        ({"bins": Bins(kind="edges", edges=[1.0, 0.0])}, "ascend"),
        ({"bins": Bins(kind="edges", edges=[float("nan")])}, "finite"),
        ({"bins": Bins(kind="classes")}, "need classes"),
    ],
)
def test_outputs_and_bins_that_contradict_themselves_are_refused(changed: dict[str, Any], reason: str) -> None:
    check(a_signature())
    with pytest.raises(InvalidSignature, match=reason):
        check(a_signature(**changed))


@given(st.lists(NUMBERS, unique=True, max_size=20).map(sorted), st.lists(NUMBERS, min_size=1, max_size=30))
def test_every_number_is_in_one_bin(edges: list[float], values: list[float]) -> None:
    bins = Bins(kind="edges", edges=edges)
    assert bins.counts(values).sum() == len(values)
    assert len(bins.counts(values)) == len(bins) == len(bins.names) == len(edges) + 1


@given(st.lists(st.sampled_from(["Adelie", "Chinstrap", "Gentoo", "Emperor", ""])))
def test_a_class_that_is_not_known_is_in_the_bin_other(labels: list[str]) -> None:
    bins = Bins(kind="classes", classes=["Adelie", "Chinstrap", "Gentoo"])
    counts = dict(zip(bins.names, bins.counts(labels).tolist(), strict=True))
    assert counts.pop("other") == labels.count("Emperor") + labels.count("")
    assert counts == {name: labels.count(name) for name in counts}


def test_classes_are_compared_as_values_and_not_as_text() -> None:
    bins = Bins(kind="classes", classes=[0, 1, 2])
    assert bins.indices(np.array([2, 0, 3])).tolist() == [2, 0, 3]
    assert bins.indices(["2"]).tolist() == [3]


def test_a_vector_is_binned_by_its_length() -> None:
    bins = Bins(kind="edges", edges=[1.0, 6.0])
    assert bins.indices(np.array([[0.1, 0.2], [3.0, 4.0], [6.0, 8.0]])).tolist() == [0, 1, 2]


def test_without_bins_everything_counts_in_one() -> None:
    assert Bins(kind="none").counts([object(), object()]).tolist() == [2]


def test_versions_of_another_role_or_with_other_bins_cannot_be_compared() -> None:
    species, delay = a_signature(), a_signature(output=VALUE, bins=Bins(kind="edges", edges=[0.0, 15.0]))
    other_bins = msgspec.structs.replace(delay, bins=Bins(kind="edges", edges=[0.0, 30.0]))
    assert difference(species, species) is difference(delay, delay) is None
    assert difference(species, delay) == "one predicts a label, the other a value"
    assert difference(delay, other_bins) == "their predictions are counted in different bins"


def test_other_inputs_do_not_keep_versions_from_being_compared() -> None:
    assert difference(a_signature(X), a_signature(X, Input(name="y", dtype="string"))) is None


def test_a_signature_reads_back_what_it_writes() -> None:
    signature = a_signature(Input(name="carrier", dtype="string", nullable=True, fill="", categories=["AA", "UA"]))
    assert msgspec.json.decode(msgspec.json.encode(signature), type=Signature) == signature
