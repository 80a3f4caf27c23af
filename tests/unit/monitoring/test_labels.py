"""Labels: valid files, invalid files, and which of several labels counts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sabia.contract.signature import Bins, DType, Output, Signature, Values
from sabia.monitoring import labels
from sabia.monitoring.archive import Archive
from sabia.monitoring.errors import InvalidLabels
from sabia.registry.claim import publish
from sabia.store.objects import Store
from tests.drafts import SIGNATURE, a_draft

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = date(2026, 3, 1)


def counted(store: Store) -> dict[tuple[str, int], float]:
    """The labels that count."""
    with Archive(store, "toy", DAY, DAY) as archive:
        return {(name, row): label for name, row, label in archive.rows('SELECT request_id, "row", label FROM labels')}


def written(path: Path, text: str) -> Path:
    """Write a file and return its path."""
    path.write_text(text)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The same labels in every format."""
    table = {"request_id": ["a", "b"], "row": [0, 1], "label": [1.0, 0.0]}
    pq.write_table(pa.table(table), tmp_path / "labels.parquet")
    return [
        tmp_path / "labels.parquet",
        written(tmp_path / "labels.csv", "request_id,row,label\na,0,1\nb,1,0\n"),
        written(tmp_path / "true.csv", "request_id,row,label\na,0,true\nb,1,False\n"),
        written(
            tmp_path / "labels.jsonl",
            '{"request_id": "a", "row": 0, "label": 1}\n{"request_id": "b", "row": 1, "label": 0}\n',
        ),
    ]


@pytest.mark.parametrize("at", range(4))
def test_every_format_is_read(store: Store, files: list[Path], at: int) -> None:
    added = labels.add(store, "toy", files[at], now=NOW)
    assert (added.labels, added.new) == (2, 2)
    assert counted(store) == {("a", 0): 1.0, ("b", 1): 0.0}


def test_without_a_row_a_label_belongs_to_the_first_row(store: Store, tmp_path: Path) -> None:
    labels.add(store, "toy", written(tmp_path / "x.csv", "request_id,label\na,1\n"), now=NOW)
    assert counted(store) == {("a", 0): 1.0}


def test_the_same_file_twice_is_added_once(store: Store, files: list[Path]) -> None:
    first = labels.add(store, "toy", files[0], now=NOW)
    again = labels.add(store, "toy", files[0], now=NOW + timedelta(minutes=1))
    assert (first.new, again.new) == (2, 0)


def test_other_columns_of_the_file_are_ignored(store: Store, tmp_path: Path) -> None:
    text = "request_id,label,added_at,comment\na,1,2020-01-01T00:00:00Z,checked twice\n"
    labels.add(store, "toy", written(tmp_path / "x.csv", text), now=NOW)
    with Archive(store, "toy", DAY, DAY) as archive:
        assert archive.rows("SELECT added_at FROM labels") == [(NOW,)]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_labels_the_one_observed_last_counts_in_any_order(store: Store, tmp_path: Path, order: int) -> None:
    early = written(tmp_path / "early.csv", "request_id,label,observed_at\na,0,2026-03-01T10:00:00Z\n")
    late = written(tmp_path / "late.csv", "request_id,label,observed_at\na,1,2026-03-01T11:00:00Z\n")
    for number, path in enumerate([early, late][::order]):
        labels.add(store, "toy", path, now=NOW + timedelta(days=number))
    assert counted(store) == {("a", 0): 1.0}


def test_of_two_that_were_observed_together_the_one_added_last_counts(store: Store, tmp_path: Path) -> None:
    for number, label in enumerate((1, 0)):
        path = written(tmp_path / f"{number}.csv", f"request_id,label,observed_at\na,{label},2026-03-01T10:00:00Z\n")
        labels.add(store, "toy", path, now=NOW + timedelta(hours=number))
    assert counted(store) == {("a", 0): 0.0}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("x.csv", "request_id,label\na,1\nb,maybe\n", "a label is not a finite number, in line 2"),
        ("x.csv", "request_id,label\na,inf\n", "a label is not a finite number, in line 1"),
        ("x.csv", "request_id,label\n,1\n", "a request_id is empty, in line 1"),
        ("x.csv", "request_id,row,label\na,-1,1\n", "a row is not an index within a request"),
        ("x.csv", "request_id,label,observed_at\na,1,yesterday\n", "a time cannot be read, in line 1"),
        ("x.csv", "id,label\na,1\n", "no column 'request_id'"),
        ("x.jsonl", '{"request_id": "a"}\n', "no column 'label'"),
        ("x.jsonl", "not json\n", "cannot be read as .jsonl"),
        ("x.txt", "", "ends with one of"),
    ],
)
def test_invalid_labels_are_rejected_and_none_is_added(
    store: Store, tmp_path: Path, name: str, text: str, problem: str
) -> None:
    publish(store, a_draft())  # a probability
    with pytest.raises(InvalidLabels, match=problem):
        labels.add(store, "toy", written(tmp_path / name, text), now=NOW)
    assert list(store.list("labels/")) == []


def test_more_labels_than_fit_into_a_file_are_all_added(store: Store, tmp_path: Path) -> None:
    ids = [f"r{at}" for at in range(25)]
    pq.write_table(pa.table({"request_id": ids, "label": np.ones(25)}), tmp_path / "x.parquet")
    assert labels.add(store, "toy", tmp_path / "x.parquet", now=NOW, file_rows=10).new == 25
    assert len(list(store.list("labels/"))) == 3
    assert len(counted(store)) == 25


def predicting(output: Output, bins: Bins) -> Signature:
    """A signature with this one output."""
    return msgspec.structs.replace(SIGNATURE, outputs=[output], primary=output.name, bins=bins)


def probability(classes: Values) -> Signature:
    """A signature with the probability of the second class."""
    output = Output(name="prediction", dtype="float64", role="probability", classes=classes, range=(0.0, 1.0))
    return predicting(output, SIGNATURE.bins)


def label(classes: Values) -> Signature:
    """A signature that predicts one of the classes."""
    dtype: DType = "string" if isinstance(classes[0], str) else "int64"
    return predicting(
        Output(name="label", dtype=dtype, role="label", classes=classes), Bins(kind="classes", classes=classes)
    )


VALUE = predicting(Output(name="prediction", dtype="float64", role="value"), Bins(kind="edges", edges=[1.0]))


@pytest.mark.parametrize(
    ("signature", "given", "stored"),
    [
        (probability(["no", "yes"]), "yes", (1.0, "yes")),
        (probability(["no", "yes"]), "no", (0.0, "no")),
        (probability(["no", "yes"]), "1", (1.0, None)),
        (probability(["no", "yes"]), "true", (1.0, None)),
        (probability([0, 1]), "1", (1.0, "1")),
        (probability([1, 2]), "2", (1.0, "2")),
        (probability(["False", "True"]), "true", (1.0, "True")),
        (label(["Adelie", "Gentoo"]), "Gentoo", (None, "Gentoo")),
        (label(["Adelie", "Gentoo"]), "Emperor", (None, "Emperor")),
        (label([0, 1, 2]), "2", (2.0, "2")),
        (label([0, 1, 2]), "2.0", (2.0, "2")),
        (label(["01", "1"]), "1", (1.0, "1")),
        (VALUE, "-12.5", (-12.5, None)),
    ],
)
def test_a_label_is_read_as_the_primary_output_is(
    store: Store, tmp_path: Path, signature: Signature, given: str, stored: tuple[float | None, str | None]
) -> None:
    publish(store, a_draft(signature=signature))
    labels.add(store, "toy", written(tmp_path / "x.csv", f"request_id,label\na,{given}\n"), now=NOW)
    with Archive(store, "toy", DAY, DAY) as archive:
        assert archive.rows("SELECT label, class FROM labels") == [stored]


@pytest.mark.parametrize(
    ("signature", "given", "problem"),
    [
        (probability(["no", "yes"]), "maybe", "a label is neither no nor yes, in line 1"),
        (probability([1, 2]), "3", "a label is neither 1 nor 2, in line 1"),
        (label(["Adelie", "Gentoo"]), "", "a label is empty, in line 1"),
        (VALUE, "late", "a label is not a finite number, in line 1"),
        (VALUE, "nan", "a label is not a finite number, in line 1"),
    ],
)
def test_what_cannot_be_a_label_of_the_model_is_rejected(
    store: Store, tmp_path: Path, signature: Signature, given: str, problem: str
) -> None:
    publish(store, a_draft(signature=signature))
    with pytest.raises(InvalidLabels, match=problem):
        labels.add(store, "toy", written(tmp_path / "x.csv", f"request_id,label\na,{given}\n"), now=NOW)


def test_labels_of_a_parquet_file_may_be_integers_or_texts(store: Store, tmp_path: Path) -> None:
    publish(store, a_draft(signature=label([0, 1, 2])))
    for number, column in enumerate(([2], [2.0], ["2"])):
        pq.write_table(pa.table({"request_id": [str(number)], "label": column}), tmp_path / "x.parquet")
        labels.add(store, "toy", tmp_path / "x.parquet", now=NOW)
    with Archive(store, "toy", DAY, DAY) as archive:
        assert archive.rows("SELECT DISTINCT label, class FROM labels") == [(2.0, "2")]
