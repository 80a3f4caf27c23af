"""Labels: valid files, invalid files, and which of several labels counts."""

from __future__ import annotations

import csv
import json
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sabia.contract.signature import Bins, DType, Output, Signature, Values
from sabia.monitoring import labelfiles, labels
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
        ("x.csv", "", "no column 'request_id'"),
        ("x.csv", "request_id,label,label\na,1,0\n", "the column 'label' twice"),
        ("x.csv", "request_id,label\na,1\nb,1,2\n", "3 cells under a header of 2, in line 2"),
        ("x.csv", "request_id,label\na\n", "1 cells under a header of 2, in line 1"),
        ("x.csv", 'request_id,label\n"a,1\nb,0\n', "cannot be read as .csv"),
        ("x.csv", "request_id,label\n a,1\n", "a request_id begins or ends with a space"),
        ("x.csv", "request_id,label\na, 1\n", "a label is not a finite number"),
        ("x.csv", "request_id,label\na,1_0\n", "a label is not a finite number"),
        ("x.csv", "request_id,label\na,t\n", "a label is not a finite number"),
        ("x.csv", "request_id,row,label\na,1.6,1\n", "a row is not an index within a request, from 0, in line 1"),
        ("x.csv", "request_id,row,label\na,,1\n", "a row is not an index within a request"),
        ("x.csv", "request_id,row,label\na,99999999999999999999,1\n", "a row is not an index within a request"),
        ("x.csv", "request_id,label,observed_at\na,1,infinity\n", "a time cannot be read, in line 1"),
        ("x.csv", "request_id,label,observed_at\na,1,epoch\n", "a time cannot be read, in line 1"),
        ("x.csv", "request_id,label,observed_at\na,1,2026-02-30\n", "a time cannot be read, in line 1"),
        ("x.csv", "request_id,label,observed_at\na,1,1700000000\n", "a time cannot be read, in line 1"),
        ("x.csv", "request_id,label,observed_at\na,1,9999-12-31T23:59:59Z\n", "a time is later than today, in line 1"),
        ("x.jsonl", '{"request_id": "a", "label": 1, "label": 0}\n', "cannot be read as .jsonl, in line 1"),
        ("x.jsonl", '{"request_id": "a", "label": NaN}\n', "cannot be read as .jsonl, in line 1"),
        ("x.jsonl", '{"request_id": 1.5, "label": 1}\n', "request_id is of the wrong type, or not text, in line 1"),
        ("x.jsonl", '{"request_id": "\\ud800", "label": 1}\n', "request_id is of the wrong type, or not text"),
        ("x.jsonl", '{"request_id": "a", "label": [1]}\n', "label is of the wrong type, or not text, in line 1"),
        ("x.jsonl", '{"request_id": "a", "label": 1, "row": 1.6}\n', "a row is not an index within a request"),
        ("x.jsonl", '{"request_id": "a", "label": 1, "row": true}\n', "row is of the wrong type"),
        ("x.jsonl", '{"request_id": "a", "label": 1}\n["b", 1]\n', "cannot be read as .jsonl, in line 2"),
        (
            "x.jsonl",
            '{"request_id": "a", "label": 1}\n{"request_id": "b"}\n',
            "'label' is in some lines and not in others",
        ),
        ("x.jsonl", "[" * 100_000, "cannot be read as .jsonl, in line 1"),
        ("x.parquet", "PAR1", "cannot be read as .parquet"),
    ],
)
def test_invalid_labels_are_rejected_and_none_is_added(
    store: Store, tmp_path: Path, name: str, text: str, problem: str
) -> None:
    publish(store, a_draft())  # a probability
    with pytest.raises(InvalidLabels, match=problem):
        labels.add(store, "toy", written(tmp_path / name, text), now=NOW)
    assert list(store.list("labels/")) == []


REQUEST_IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: text.strip() == text
) | st.sampled_from(
    [
        "2026-03-01",
        "00123",
        "1e5",
        "0x1F",
        "true",
        "NaN",
        "null",
        "6F9619FF-8B86-D011-B42D-00CF4FC964FF",
        "12:30",
        "1_000",
    ]
)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), ids=st.lists(REQUEST_IDS, min_size=1, max_size=8, unique=True))
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_request_id_is_read_as_it_was_written_beside_whatever_notes(
    suffix: str, data: st.DataObject, ids: list[str]
) -> None:
    notes = data.draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=len(ids), max_size=len(ids)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"labels{suffix}")
        if suffix == ".csv":
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(
                    [("note", "request_id", "label"), *((n, i, 1) for n, i in zip(notes, ids, strict=True))]
                )
        elif suffix == ".jsonl":
            lines = [{"note": n, "request_id": i, "label": 1} for n, i in zip(notes, ids, strict=True)]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        else:
            pq.write_table(pa.table({"note": notes, "request_id": ids, "label": [1] * len(ids)}), path)
        assert labelfiles.read(path)["request_id"].to_pylist() == ids


@pytest.mark.parametrize("folder", ["label=0", "a[1]", "what?", "dt=2020-01-01", "a*b", "it's"])
@pytest.mark.parametrize("name", ["x.parquet", "x[1].parquet", "x[1].csv", "x?.jsonl"])
def test_a_file_is_read_as_it_is_named(store: Store, tmp_path: Path, folder: str, name: str) -> None:
    path = tmp_path / folder / name
    path.parent.mkdir()
    for each, request_id in ((path, "right"), (path.with_name(f"x1{path.suffix}"), "wrong")):
        if each.suffix == ".parquet":
            pq.write_table(pa.table({"request_id": [request_id], "label": [1]}), each)
        else:
            csv_text, json_text = (
                f"request_id,label\n{request_id},1\n",
                f'{{"request_id": "{request_id}", "label": 1}}\n',
            )
            each.write_text(csv_text if each.suffix == ".csv" else json_text)
    labels.add(store, "toy", path, now=NOW)
    assert counted(store) == {("right", 0): 1.0}


def test_a_type_may_be_new_after_many_lines(store: Store, tmp_path: Path) -> None:
    lines = ["request_id,note,label"] + [f"{at},{at},1" for at in range(30_000)] + ["last,it's a note,0"]
    assert labels.add(store, "toy", written(tmp_path / "x.csv", "\n".join(lines)), now=NOW).new == 30_001


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01 10:00:00.5", datetime(2026, 3, 1, 10, microsecond=500_000, tzinfo=UTC)),
        ("2026-03-01T10:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
        ("2026-03-01 10:00:00.123456789 -0130", datetime(2026, 3, 1, 11, 30, microsecond=123_456, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_utc_unless_it_has_a_zone(text: str, time: datetime) -> None:
    assert labelfiles.time_of(text) == time


def test_columns_of_data_frames_are_read_for_what_they_are(store: Store, tmp_path: Path) -> None:
    """Rows as floats, times without a zone, request ids as UUIDs of 16 bytes, labels as categories."""
    request_id = UUID(int=7)
    table = {
        "request_id": pa.array([request_id.bytes], pa.binary(16)),
        "row": [2.0],
        "label": pa.array(["1"]).dictionary_encode(),
        "observed_at": pa.array(["2026-03-01T10:00:00"]).cast(pa.timestamp("ns")),
    }
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    labels.add(store, "toy", tmp_path / "x.parquet", now=NOW)
    with Archive(store, "toy", DAY, DAY) as archive:
        rows = archive.rows('SELECT request_id, "row", label, observed_at FROM labels')
    assert rows == [(str(request_id), 2, 1.0, datetime(2026, 3, 1, 10, tzinfo=UTC))]


@pytest.mark.parametrize("column", ["request_id", "label", "row", "observed_at"])
def test_a_column_of_parquet_of_another_type_is_refused(store: Store, tmp_path: Path, column: str) -> None:
    table = {"request_id": ["a"], "label": [1], "row": [0], "observed_at": ["2026-03-01"]} | {column: [[1]]}
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    with pytest.raises(InvalidLabels, match=f"the column '{column}' is of the wrong type"):
        labels.add(store, "toy", tmp_path / "x.parquet", now=NOW)


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
        (label(["Adelie", "Gentoo"]), "", "a label is empty, or has a space around it, in line 1"),
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
