"""Recipes on the user's own data, with the user's own methods."""

from __future__ import annotations

import itertools
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from sabia.errors import SabiaError
from sabia.kubernetes.manifests import ROOT
from sabia.publishing.errors import FloorRefused, HyperParameterRefused
from sabia.registry.catalogue import versions
from sabia.registry.claim import Change, Published
from sabia.store.objects import Store
from sabia.training import tables
from sabia.training.datasets import load
from sabia.training.errors import InvalidData, InvalidHyperParams, InvalidMethods, InvalidRecipe, TrainingFailed
from sabia.training.recipe import read
from sabia.training.recipes import flights
from sabia.training.run import run
from tests.unit.training.test_data import PENGUINS

METHODS = """
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder


def boosting(**hyper_params):
    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer(
        [("texts", texts, make_column_selector(dtype_include=object))], remainder="passthrough"
    )
    return Pipeline([("columns", columns), ("model", HistGradientBoostingClassifier(**hyper_params))])


class Talk:
    name = "talk"
    code_major = 3

    def train(self, target, features, hyper_params):
        self.hyper_params = hyper_params
        self.estimator = boosting(**hyper_params).fit(features, target)


def lenient(since):
    return boosting(max_iter=2)


class Forgetful:
    def train(self, target, features, hyper_params):
        pass


class NoEstimator:
    pass


class Fragile:
    def fit(self, features, target):
        raise RuntimeError("out of luck\\nand more")


NUMBER = 3
"""
_NAMES = itertools.count()


def a_recipe(folder: Path, **changes: Any) -> Path:
    """A recipe on the penguins, with a module of its own name beside it."""
    module = f"methods_{next(_NAMES)}"
    (folder / f"{module}.py").write_text(METHODS)
    document: dict[str, Any] = {
        "model": "penguins",
        "data": {"sources": {"p": PENGUINS}, "target": "species", "split": {"share": 0.25}},
        "versions": [{"methods": "mine:boosting", "hyper_params": {"max_iter": 5}}],
    }
    document["data"] |= changes.pop("data", {})
    document |= changes
    for step in document["versions"]:
        step["methods"] = step["methods"].replace("mine:", f"{module}:")
    path = folder / f"{module}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def trained(store: Store, path: Path) -> list[Published]:
    """What a run of the recipe publishes."""
    return [published for _, published in run(read(path), store, folder=path.parent)]


def test_a_table_with_strings_nulls_and_three_classes_is_a_version(store: Store, tmp_path: Path) -> None:
    (published,) = trained(store, a_recipe(tmp_path, data={"units": {"body_mass_g": "g"}}, floor={"accuracy": 0.9}))
    manifest = published.manifest
    assert (manifest.version, manifest.metrics.task, manifest.metrics.rows) == ("1.0", "multi-class", 86)
    inputs = {each.name: each for each in manifest.inputs}
    assert inputs["island"].categories == ["Biscoe", "Dream", "Torgersen"]
    assert inputs["body_mass_g"].nullable
    assert inputs["body_mass_g"].unit == "g"
    assert manifest.target == "species"
    assert manifest.hyper_params == {"max_iter": 5}
    assert manifest.provenance.dataset is not None
    assert manifest.provenance.dataset.rows == 258
    assert manifest.provenance.dataset.uri.endswith("penguins.csv")


def test_every_night_new_rows_are_the_next_minor_and_the_same_rows_nothing(store: Store, tmp_path: Path) -> None:
    rows = f"FROM read_csv('{PENGUINS['url']}', nullstr = 'NA')"
    path = a_recipe(tmp_path, data={"sources": {"p": "days/*.parquet"}})
    (tmp_path / "days").mkdir()
    outcomes = []
    for year in (2008, 2008, 2009):
        file = tmp_path / "days" / f"{year}.parquet"
        # The first file has two of the islands only: a new category is new state, too.
        duckdb.sql(f"COPY ({rows} WHERE year = 2009 OR {year} = 2008 AND island != 'Dream') TO '{file}'")
        outcomes += [(published.manifest.version, published.change) for published in trained(store, path)]
    assert outcomes == [("1.0", Change.FIRST), ("1.0", Change.NOTHING), ("1.1", Change.STATE)]
    (fewer,) = trained(store, a_recipe(tmp_path, data={"columns": ["body_mass_g", "island"]}))
    assert (fewer.manifest.version, fewer.change) == ("2.0", Change.METHODS)


def test_a_night_whose_version_misses_the_floor_publishes_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FloorRefused, match="accuracy"):
        trained(store, a_recipe(tmp_path, floor={"accuracy": 1.0}, data={"columns": ["body_mass_g"]}))
    assert versions(store, "penguins") == []


def test_an_estimator_without_a_random_state_is_repeatable(store: Store, tmp_path: Path) -> None:
    forest = {"methods": "sklearn.ensemble:RandomForestClassifier", "hyper_params": {"n_estimators": 5}}
    data = {"query": "SELECT species, body_mass_g, bill_depth_mm FROM p WHERE body_mass_g IS NOT NULL"}
    path = a_recipe(tmp_path, data=data, versions=[forest])
    assert [trained(store, path)[0].change for _ in range(2)] == [Change.FIRST, Change.NOTHING]


def test_a_class_with_the_talks_train_is_published_by_its_estimator(store: Store, tmp_path: Path) -> None:
    step = {"methods": "mine:Talk", "hyper_params": {"max_iter": 3}}
    (published,) = trained(store, a_recipe(tmp_path, versions=[step]))
    assert published.manifest.methods.code_major == 3
    assert published.manifest.hyper_params == {"max_iter": 3}


def test_several_targets_are_predicted_together(store: Store, tmp_path: Path) -> None:
    data = {
        "query": "SELECT bill_length_mm, flipper_length_mm, body_mass_g FROM p WHERE body_mass_g IS NOT NULL",
        "target": ["flipper_length_mm", "body_mass_g"],
    }
    (published,) = trained(store, a_recipe(tmp_path, data=data, versions=[{"methods": "mine:LinearRegression"}]))
    assert published.manifest.metrics.task == "multi-output"
    assert published.manifest.target == "flipper_length_mm, body_mass_g"


@pytest.mark.parametrize("methods", ["linear-regression", "logistic-regression", "histogram-boosting"])
def test_built_in_methods_train_on_a_table_of_numbers(methods: str, store: Store, tmp_path: Path) -> None:
    rows = load("sklearn:breast_cancer")
    lines = [",".join([*rows.names, "benign"])]
    lines += [
        ",".join(map(repr, [*map(float, row), int(label)]))
        for row, label in zip(rows.features, rows.target, strict=True)
    ]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    data = {"sources": {"rows": "rows.csv"}, "target": "benign"}
    (published,) = trained(
        store, a_recipe(tmp_path, data=data, versions=[{"methods": methods}], floor={"roc_auc": 0.95})
    )
    assert published.manifest.metrics.task == "binary"
    assert published.manifest.signature.is_scalar


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"versions": [{"methods": "nowhere:Class"}]}, InvalidMethods, "importing nowhere raised ModuleNotFoundError"),
        ({"versions": [{"methods": "mine:Absent"}]}, InvalidMethods, "has no class or function Absent"),
        ({"versions": [{"methods": "mine:NUMBER"}]}, InvalidMethods, "has no class or function NUMBER"),
        ({"versions": [{"methods": "mine:NoEstimator"}]}, InvalidMethods, r"makes a NoEstimator, which has no fit\(\)"),
        ({"versions": [{"methods": "mine:Forgetful"}]}, InvalidMethods, r"train\(\) leaves no fitted estimator"),
        ({"versions": [{"methods": "mine:Fragile"}]}, TrainingFailed, "on these data: RuntimeError: out of luck"),
        ({"versions": [{"methods": "mine:boosting", "hyper_params": {"depth": 3}}]}, InvalidHyperParams, "'depth'"),
        (
            {"versions": [{"methods": "mine:boosting", "hyper_params": {"max_iter": -1}}]},
            InvalidHyperParams,
            "max_iter",
        ),
        (
            {"versions": [{"methods": "mine:RandomForestClassifier"}]},
            TrainingFailed,
            "could not convert string to float",
        ),
        ({"versions": [{"methods": "linear-regression"}]}, InvalidData, "'island' is string, and linear-regression"),
        (
            {"versions": [{"methods": "linear-regression"}], "data": {"columns": ["body_mass_g"]}},
            InvalidData,
            "'body_mass_g' is null in . rows; linear-regression takes no nulls",
        ),
        (
            {"versions": [{"methods": "linear-regression"}], "data": {"columns": ["year"]}},
            InvalidData,
            "a target of 0 and 1, which species is not",
        ),
    ],
)
def test_a_fault_is_blamed_on_what_has_it(
    changes: dict[str, Any], error: type[SabiaError], reason: str, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(error, match=reason):
        trained(store, a_recipe(tmp_path, **changes))
    assert versions(store, "penguins") == []


@pytest.mark.parametrize("methods", ["logistic-regression", "sklearn.linear_model:LogisticRegression"])
def test_hyper_params_by_class_are_recorded_with_the_class_as_text(methods: str, store: Store, tmp_path: Path) -> None:
    step = {"methods": methods, "hyper_params": {"class_weight": {0: 1, 1: 3}}}
    data = {"query": "SELECT year, CAST(species = 'Adelie' AS INTEGER) AS species FROM p"}
    (published,) = trained(store, a_recipe(tmp_path, data=data, versions=[step], floor={}))
    assert published.manifest.hyper_params == {"class_weight": {"0": 1, "1": 3}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), date(2026, 1, 1), [float("nan")]])
def test_a_hyper_parameter_that_cannot_be_recorded_is_refused_by_name(
    value: object, store: Store, tmp_path: Path
) -> None:
    step = {"methods": "mine:lenient", "hyper_params": {"since": value}}
    with pytest.raises(HyperParameterRefused, match="'since'"):
        trained(store, a_recipe(tmp_path, versions=[step]))
    assert versions(store, "penguins") == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"dataset": "sklearn:breast_cancer"}, "give either `data` or `dataset`"),
        ({"data": {"split": {"share": 2}}}, r"data\.split\.share"),
        ({"data": {"sources": {"p": "rows.xls"}}}, "add `format`"),
        ({"data": {"surprise": 1}}, "surprise"),
        ({"versions": [{"methods": "not a name:at all"}]}, r"versions\[0\]\.methods .* or package.module:Class"),
    ],
)
def test_a_wrong_recipe_is_refused_and_the_field_is_named(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match=named):
        read(a_recipe(tmp_path, **changes))


def test_a_built_in_data_set_takes_built_in_methods_only(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    document = {"model": "m", "dataset": "sklearn:breast_cancer", "versions": [{"methods": "mine:boosting"}]}
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(InvalidRecipe, match=r"versions\[0\]\.methods"):
        read(path)


@pytest.mark.slow
def test_the_command_reads_a_recipe_and_its_data_from_any_folder(tmp_path: Path) -> None:
    path = a_recipe(tmp_path)
    command = [sys.executable, "-m", "sabia", "train", str(path), "--store", f"{tmp_path.as_uri()}/store"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert (done.stdout, done.stderr) == ("penguins 1.0: first version\n", "")
    broken = a_recipe(tmp_path, data={"target": "genus"})
    done = subprocess.run([*command[:4], str(broken), *command[5:]], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: The data set is not usable: it has no column 'genus'")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_flights_have_strings_and_nulls_and_labels_of_the_future(store: Store, tmp_path: Path) -> None:
    path = flights.export(tmp_path)
    recipe = read(path)
    assert recipe.data is not None
    parts = tables.read(recipe.data, recipe=tmp_path, seed=recipe.seed)
    assert (len(parts.training), len(parts.held_out)) == (273_281, 54_065)
    nulls = parts.training.frame.isna().any()
    assert set(nulls[nulls].index) == {"temp", "wind_speed", "pressure", "built"}
    document = yaml.safe_load(path.read_text()) | {"floor": {}}
    document["versions"] = [document["versions"][0] | {"rows": 0.02}, document["versions"][2] | {"rows": 0.02}]
    document["versions"][1]["hyper_params"] = {"max_iter": 3}
    path.write_text(yaml.safe_dump(document))
    first, second = trained(store, path)
    assert (first.manifest.version, second.manifest.version) == ("1.0", "2.0")
    assert [each.dtype for each in second.manifest.inputs] == ["string"] * 4 + ["int64"] * 2 + ["float64"] * 4
    assert second.manifest.bins == first.manifest.bins


def test_the_recipe_of_the_manifests_reads_the_same_flights_from_the_store() -> None:
    ours, theirs = read(flights.RECIPE), read(ROOT / "recipes" / "flights" / "recipe.yaml")
    assert ours.data is not None
    assert theirs.data is not None
    assert (ours.data.query, ours.data.split, ours.data.target) == (
        theirs.data.query, theirs.data.split, theirs.data.target,
    )  # fmt: skip
    assert set(ours.data.sources) == set(theirs.data.sources)
    assert all(source.scheme == "s3" for source in theirs.data.tables.values())
