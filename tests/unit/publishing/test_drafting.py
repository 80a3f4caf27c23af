"""Any estimator, any table: what is published agrees with the estimator, also where the data had no such row."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import palmerpenguins
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from msgspec.structs import replace
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_linnerud
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from sklearn.svm import LinearSVC

import sabia
from sabia.contract.layout import Version
from sabia.contract.manifest import MODEL_FILE
from sabia.publishing import frames
from sabia.publishing.converters.lookups import NULL
from sabia.publishing.drafting import draft
from sabia.publishing.errors import (
    ConversionRefused,
    EstimatorFailed,
    FloorRefused,
    ParityRefused,
    TableRefused,
    TaskRefused,
    UnknownMetric,
)
from sabia.publishing.graphs import run
from sabia.publishing.signatures import feed
from sabia.registry.catalogue import manifest_of, versions
from sabia.serving.errors import LoadFailed
from sabia.serving.inference.model import Model
from sabia.store.objects import Store

TEXTS = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good", "bad"], [1, 0])
NUMBERS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "year"]
STRINGS = ["island", "sex"]


@pytest.fixture(scope="module")
def penguins() -> tuple[Any, Any]:
    table = palmerpenguins.load_penguins()
    return table.drop(columns="species"), table["species"]


def columns(numbers: Any, strings: Any) -> ColumnTransformer:
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("strings", strings, STRINGS)])


ENCODERS = {
    "one-hot": OneHotEncoder(handle_unknown="ignore"),
    "one-hot of rare ones, without the first": OneHotEncoder(
        handle_unknown="infrequent_if_exist", min_frequency=60, drop="first"
    ),
    "ordinal": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    "target": TargetEncoder(),
    "imputed by the most frequent": make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    ),
    "imputed by a constant": make_pipeline(
        SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(handle_unknown="ignore")
    ),
}


@pytest.mark.filterwarnings("ignore:Found unknown categories")  # they are what is tested
@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_encoded_strings_agree_for_nulls_and_unseen_categories(encoder: Any, penguins: tuple[Any, Any]) -> None:
    inputs, species = penguins
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    model = make_pipeline(columns(numbers, encoder), LogisticRegression()).fit(inputs, species)
    made = draft(model, inputs, species, name="penguins")
    strange = inputs.head(3).copy()
    strange["island"] = ["Torgersen", "Atlantis", "Biscoe"]
    strange["sex"] = [np.nan, "male", "unknown"]
    strange.loc[strange.index[0], "body_mass_g"] = np.nan
    answers = run(made.files[MODEL_FILE], feed(made.signature.inputs, frames.read(strange), matrix=False, name=""))
    np.testing.assert_allclose(answers["probabilities"], model.predict_proba(strange), atol=1e-12)
    assert answers["label"].tolist() == model.predict(strange).tolist()


def test_the_signature_has_types_nulls_ranges_and_categories(penguins: tuple[Any, Any]) -> None:
    inputs, species = penguins
    model = make_pipeline(
        columns(make_pipeline(SimpleImputer(), StandardScaler()), ENCODERS["one-hot"]), LogisticRegression()
    )
    signature = draft(
        model.fit(inputs, species), inputs, species, name="penguins", units={"body_mass_g": "g"}
    ).signature
    by_name = {each.name: each for each in signature.inputs}
    assert list(by_name) == list(inputs.columns)
    assert {name: each.dtype for name, each in by_name.items()} == {
        name: "string" if name in STRINGS else "int64" if name == "year" else "float64" for name in by_name
    }
    assert {name for name, each in by_name.items() if each.nullable} == {*NUMBERS, "sex"} - {"year"}
    assert by_name["island"].categories == ["Biscoe", "Dream", "Torgersen"]
    assert by_name["sex"].fill == NULL
    assert (by_name["body_mass_g"].minimum, by_name["body_mass_g"].unit) == (2700, "g")
    assert [(each.name, each.role) for each in signature.outputs] == [
        ("label", "label"),
        ("probabilities", "class-probabilities"),
    ]
    assert signature.bins.classes == ["Adelie", "Chinstrap", "Gentoo"]


def test_an_encoder_that_refuses_unseen_categories_makes_the_input_strict(penguins: tuple[Any, Any]) -> None:
    inputs, species = penguins
    model = make_pipeline(
        columns(make_pipeline(SimpleImputer(), StandardScaler()), OneHotEncoder()), LogisticRegression()
    )
    made = draft(model.fit(inputs, species), inputs, species, name="penguins")
    assert {each.name for each in made.signature.inputs if each.strict} == set(STRINGS)


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "dict"])
def test_the_same_table_in_any_library_is_the_same_version(kind: str, penguins: tuple[Any, Any]) -> None:
    inputs, species = penguins
    table = pa.Table.from_pandas(inputs, preserve_index=False)
    given = {
        "pandas": inputs,
        "polars": pl.from_pandas(inputs),
        "arrow": table,
        "dict": {name: table[name].to_pylist() for name in table.schema.names},
    }[kind]
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    model = make_pipeline(columns(numbers, ENCODERS["one-hot"]), LogisticRegression())
    made = draft(model, given, species, name="penguins", held_out=0.2)
    pandas = draft(model, inputs, species, name="penguins", held_out=0.2)
    assert (made.digest, made.provenance.dataset) == (pandas.digest, pandas.provenance.dataset)


@pytest.mark.parametrize("as_category", [True, False])
def test_histogram_boosting_with_categorical_features_is_exact(as_category: bool, penguins: tuple[Any, Any]) -> None:
    inputs, species = penguins
    if as_category:
        inputs = inputs.astype(dict.fromkeys(STRINGS, "category"))
        model = HistGradientBoostingClassifier(max_iter=15, categorical_features="from_dtype")
    else:
        inputs = inputs.copy()
        inputs[STRINGS] = OrdinalEncoder().fit_transform(inputs[STRINGS])
        model = HistGradientBoostingClassifier(max_iter=15, categorical_features=STRINGS)
    made = draft(model.fit(inputs, species), inputs, species, name="penguins")
    assert made.metrics.parity_max_error is not None
    assert made.metrics.parity_max_error < 1e-12


CELLS = load_breast_cancer()


@pytest.mark.parametrize(
    ("model", "role"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), "probability"),
        (RandomForestClassifier(10, random_state=0), "probability"),
        (HistGradientBoostingClassifier(max_iter=5), "probability"),
        (make_pipeline(StandardScaler(), LinearSVC()), "label"),
        (RidgeClassifier(), "label"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_two_classes_are_a_probability_where_the_estimator_has_one(model: Any, role: str) -> None:
    made = draft(model, CELLS.data, CELLS.target, name="cells", held_out=0.25)
    assert made.signature.primary_output.role == role
    assert made.signature.is_scalar == (role == "probability")
    assert made.metrics.task == "binary"
    assert made.metrics.rows == 143
    assert made.metrics.values["accuracy"] > 0.9  # noqa: PD011  no table of pandas


def test_a_regressor_of_zero_and_one_is_a_clipped_probability_when_asked() -> None:
    model = Ridge().fit(CELLS.data, CELLS.target)
    made = draft(model, CELLS.data, CELLS.target, name="cells", task="binary")
    answers = run(made.files[MODEL_FILE], {"features": CELLS.data})["prediction"]
    assert (answers.min(), answers.max()) == (0, 1)
    assert draft(model, CELLS.data, CELLS.target, name="cells").metrics.task == "regression"


def test_values_have_bins_of_their_own_which_later_versions_inherit() -> None:
    inputs, target = load_diabetes(return_X_y=True)
    first = draft(LinearRegression().fit(inputs, target), inputs, target, name="progression", target_name="progression")
    assert first.signature.bins.kind == "edges"
    assert len(first.signature.bins) == 20
    assert set(first.metrics.values) == {"rmse", "mae", "r2"}
    forest = RandomForestRegressor(5, random_state=0).fit(inputs, target)
    later = draft(forest, inputs, target, name="progression", bins=first.signature.bins)
    assert later.signature.bins == first.signature.bins


def test_several_targets_are_one_value_each() -> None:
    table = load_linnerud(as_frame=True)
    made = draft(LinearRegression().fit(table.data, table.target), table.data, table.target, name="fitness")
    assert [(each.name, each.role) for each in made.signature.outputs] == [
        (name, "value") for name in table.target.columns
    ]
    values = made.metrics.values  # noqa: PD011  no table of pandas
    assert values["rmse_Weight"] > values["rmse_Waist"]


# Of both, the graph asks for the locale C: slim images, as the machines that run this, have no other one.
@pytest.mark.parametrize("vectorizer", [TfidfVectorizer, CountVectorizer])
def test_texts_are_one_column_of_strings_and_need_no_locale(vectorizer: Any) -> None:
    texts = ["A good film", "a bad film", "good", "bad", "so good", "so bad"] * 5
    model = make_pipeline(vectorizer(), LogisticRegression())
    made = draft(model, texts, np.array(["pos", "neg"] * 15), name="reviews", held_out=0.3)
    assert [(each.name, each.dtype) for each in made.signature.inputs] == [("text", "string")]
    assert made.signature.primary_output.classes == ["neg", "pos"]


def test_the_callers_signature_replaces_the_inferred_one() -> None:
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(CELLS.data, CELLS.target)
    inferred = draft(model, CELLS.data, CELLS.target, name="cells").signature
    first, *others = inferred.inputs
    stated = replace(inferred, inputs=[replace(first, nullable=True, unit="mm"), *others])
    made = draft(model, CELLS.data, CELLS.target, name="cells", signature=stated)
    assert made.signature == stated
    unlike = replace(inferred, inputs=[replace(first, name="other"), *others])
    with pytest.raises(TableRefused, match="the signature has other"):
        draft(model, CELLS.data, CELLS.target, name="cells", signature=unlike)


def test_what_no_converter_knows_is_refused_with_its_name() -> None:
    model = make_pipeline(FunctionTransformer(np.cbrt), LogisticRegression(max_iter=2000)).fit(CELLS.data, CELLS.target)
    with pytest.raises(ConversionRefused, match="FunctionTransformer"):
        draft(model, CELLS.data, CELLS.target, name="cells")


def test_a_graph_too_far_from_its_estimator_is_refused_with_the_row() -> None:
    model = RandomForestClassifier(10, random_state=0).fit(CELLS.data, CELLS.target)
    with pytest.raises(ParityRefused, match=r"the row x0=\d+\.\d+, x1="):
        draft(model, CELLS.data, CELLS.target, name="cells", tolerance=1e-30)


def test_a_floor_is_the_least_of_metrics_and_the_most_of_errors() -> None:
    inputs, target = load_diabetes(return_X_y=True)
    model = LinearRegression().fit(inputs, target)
    draft(model, inputs, target, name="progression", floor={"r2": 0.5, "rmse": 60})
    for floor in ({"r2": 0.9}, {"rmse": 10}):
        with pytest.raises(FloorRefused):
            draft(model, inputs, target, name="progression", floor=floor)
    with pytest.raises(UnknownMetric, match="accuracy"):
        draft(model, inputs, target, name="progression", floor={"accuracy": 0.5})


def test_rows_that_cannot_be_published_are_refused_in_one_sentence() -> None:
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    for inputs, target, kind, sentence in (
        (pd.DataFrame({"a": [1.0, "x"]}), [0, 1], TableRefused, "several types in column 'a'"),
        (pd.DataFrame({"a": [1.0, np.inf]}), [0, 1], TableRefused, "infinite values in column 'a'"),
        (pd.DataFrame({"a": []}), [], TableRefused, "no rows"),
        ([[[1.0]]], [0], TableRefused, "column 'text'"),
        (np.zeros((2, 1)), [0, np.nan], TaskRefused, "no value in 1 rows"),
        (np.zeros((2, 1)), [0], TableRefused, "2 rows; the target has 1"),
        (np.zeros((2, 1)), ["a", "b"], TaskRefused, "predicts numbers"),
        (object(), [0], TableRefused, "give a DataFrame"),
    ):
        with pytest.raises(kind, match=sentence):
            draft(model, inputs, np.asarray(target), name="refused")


def test_publishing_numbers_versions_by_methods_and_state() -> None:
    store = Store.open("memory://")

    def publish(strength: float, lines: list[str] | None = None) -> sabia.Published:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength)).fit(CELLS.data, CELLS.target)
        progress = None if lines is None else lines.append
        return sabia.publish(model, CELLS.data, CELLS.target, store=store, name="cells", progress=progress)

    lines: list[str] = []
    assert publish(1.0, lines).manifest.version == "1.0"
    assert lines[-1] == "cells 1.0: first version"
    assert publish(0.1).manifest.version == "1.1"
    assert publish(0.1).change == "nothing changed"
    forest = RandomForestClassifier(10, random_state=0).fit(CELLS.data, CELLS.target)
    assert sabia.publish(forest, CELLS.data, CELLS.target, store=store, name="cells").manifest.version == "2.0"
    loaded = sabia.load(store, "cells", "1.1")
    assert isinstance(loaded, Model)
    assert loaded.linear is not None


def test_a_version_that_cannot_be_read_does_not_stop_the_next_one(store: Store) -> None:
    rows, target = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0]}), pd.Series([0.0, 1.0, 2.0, 4.0])
    first = sabia.publish(LinearRegression().fit(rows, target), rows, target, store=store, name="toy").manifest
    store.create("models/toy/1.1/manifest.json", b"{")
    following = sabia.publish(LinearRegression().fit(rows, 2 * target), rows, 2 * target, store=store, name="toy")
    assert (following.manifest.version, following.manifest.bins) == ("1.2", first.bins)


def test_a_draft_that_no_server_can_open_gets_no_number(store: Store) -> None:
    rows = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0]})
    made = draft(LinearRegression().fit(rows, [0.0, 1.0, 2.0, 4.0]), rows, np.array([0.0, 1.0, 2.0, 4.0]), name="toy")
    other = draft(TEXTS, ["good", "bad"] * 5, np.array([1, 0] * 5), name="toy")
    for model in (other.files[MODEL_FILE], b"not a graph"):
        with pytest.raises(LoadFailed):
            sabia.claim(store, dataclasses.replace(made, files={**made.files, MODEL_FILE: model}))
    assert versions(store, "toy") == []
    assert sabia.claim(store, made).manifest.version == "1.0"


@pytest.mark.parametrize("share", [0.1, 1.0], ids=["some values", "a whole column"])
def test_what_nan_in_training_rows_leaves_can_be_read_and_served(share: float, store: Store) -> None:
    source = np.random.default_rng(3)
    rows = pd.DataFrame({"a": source.normal(size=60), "b": source.normal(size=60)})
    target = (rows["b"] > 0).astype(int)
    rows.loc[source.random(60) <= share, "a"] = np.nan
    model = make_pipeline(SimpleImputer(keep_empty_features=True), LogisticRegression()).fit(rows, target)
    sabia.publish(model, rows, target, store=store, name="toy")
    manifest = manifest_of(store, "toy", Version(1, 0))
    first = manifest.inputs[0]
    assert first.nullable
    assert all(limit is None or np.isfinite(limit) for limit in (first.minimum, first.maximum))
    served = sabia.load(store, "toy", "1.0").predict(rows.to_numpy())
    np.testing.assert_allclose(served, model.predict_proba(rows)[:, 1], atol=1e-6)


ROWS = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
CLASSES = pd.Series([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("rows", "estimator", "reason"),
    [
        (ROWS, LogisticRegression(), "LogisticRegression cannot predict the rows given: .*not fitted"),
        (ROWS.mask(ROWS > 2), LogisticRegression().fit(ROWS, CLASSES), "cannot predict the rows given: .*NaN"),
        (ROWS[["b", "a"]], LogisticRegression().fit(ROWS, CLASSES), "cannot predict the rows given: .*feature names"),
    ],
    ids=["not fitted", "nulls that it does not take", "columns in another order"],
)
def test_an_estimator_that_raises_is_refused_with_its_reason(rows: Any, estimator: Any, reason: str) -> None:
    with pytest.raises(EstimatorFailed, match=reason):
        draft(estimator, rows, CLASSES, name="toy")


def test_a_copy_that_cannot_be_fitted_is_refused_with_its_reason() -> None:
    with pytest.raises(EstimatorFailed, match=r"cannot fit the rows given: .*NaN"):
        draft(LogisticRegression(), ROWS.assign(a=[np.nan, 1.0, np.nan, np.nan]), CLASSES, name="toy", held_out=0.5)


@pytest.mark.parametrize(
    "table",
    [pd.concat([ROWS["a"], ROWS["a"]], axis=1), pa.table([[0.0], [1.0]], ["a", "a"])],
    ids=["pandas", "Arrow"],
)
def test_a_table_with_two_columns_of_a_name_is_refused(table: Any) -> None:
    with pytest.raises(TableRefused, match="has 2 columns 'a'"):
        frames.read(table)
