"""Boosted trees of the three libraries: exact where the library's own arithmetic is, refused where it cannot be."""

from __future__ import annotations

from typing import Any

import catboost
import lightgbm
import numpy as np
import palmerpenguins
import pytest
import xgboost
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from sabia.publishing.drafting import draft
from sabia.publishing.errors import ConversionRefused

STRINGS = ["island", "sex"]
CELLS = load_breast_cancer()
# Sums of float64 leaves are exact; XGBoost and CatBoost sum in float32.
EXACT, SINGLE = 1e-9, 2e-6


def boosters(task: str) -> list[tuple[Any, float]]:
    kind = "Regressor" if task == "regression" else "Classifier"
    return [
        (getattr(xgboost, f"XGB{kind}")(n_estimators=12, max_depth=4), SINGLE),
        (getattr(lightgbm, f"LGBM{kind}")(n_estimators=12, verbose=-1, min_child_samples=5), EXACT),
        (getattr(catboost, f"CatBoost{kind}")(iterations=12, verbose=False, allow_writing_files=False), SINGLE),
    ]


@pytest.fixture(scope="module")
def penguins() -> tuple[Any, Any]:
    table = palmerpenguins.load_penguins()
    return table.drop(columns="species"), table["species"]


@pytest.mark.parametrize(("model", "within"), boosters("binary"), ids=lambda each: type(each).__name__)
def test_two_classes_are_a_probability(model: Any, within: float) -> None:
    made = draft(model.fit(CELLS.data, CELLS.target), CELLS.data, CELLS.target, name="cells")
    assert made.signature.is_scalar
    assert made.metrics.parity_max_error is not None
    assert made.metrics.parity_max_error <= within


@pytest.mark.parametrize(("model", "within"), boosters("multi-class"), ids=lambda each: type(each).__name__)
def test_several_classes_of_a_table_with_strings_and_nulls(
    model: Any, within: float, penguins: tuple[Any, Any]
) -> None:
    inputs, species = penguins
    codes = species.astype("category").cat.codes.to_numpy().astype(np.int64)
    encoder = ColumnTransformer(
        [("strings", OneHotEncoder(handle_unknown="ignore", sparse_output=False), STRINGS)], remainder="passthrough"
    )
    pipeline = make_pipeline(encoder, model).fit(inputs, codes)
    made = draft(pipeline, inputs, codes, name="penguins", target_name="species")
    assert made.metrics.task == "multi-class"
    assert made.metrics.parity_max_error is not None
    assert made.metrics.parity_max_error <= within


@pytest.mark.parametrize(("model", "within"), boosters("regression"), ids=lambda each: type(each).__name__)
def test_values(model: Any, within: float) -> None:
    inputs, target = load_diabetes(return_X_y=True)
    made = draft(model.fit(inputs, target), inputs, target, name="progression")
    assert made.signature.primary_output.role == "value"
    assert made.metrics.parity_max_error is not None
    assert made.metrics.parity_max_error <= within * target.max()


@pytest.mark.parametrize(
    ("model", "within"),
    [
        (xgboost.XGBClassifier(n_estimators=8, max_depth=3, enable_categorical=True, max_cat_to_onehot=2), SINGLE),
        (lightgbm.LGBMClassifier(n_estimators=8, verbose=-1, min_child_samples=5, min_data_per_group=5), EXACT),
    ],
    ids=lambda each: type(each).__name__,
)
def test_categorical_columns_of_pandas_are_strings_of_the_signature(
    model: Any, within: float, penguins: tuple[Any, Any]
) -> None:
    inputs, species = penguins
    inputs = inputs.astype(dict.fromkeys(STRINGS, "category"))
    target = (species == "Adelie").to_numpy().astype(np.int64)
    made = draft(
        model.fit(inputs[[*STRINGS, "body_mass_g"]], target), inputs[[*STRINGS, "body_mass_g"]], target, name="p"
    )
    assert made.signature.inputs[0].categories == ["Biscoe", "Dream", "Torgersen"]
    assert made.metrics.parity_max_error is not None
    assert made.metrics.parity_max_error <= within


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
@pytest.mark.parametrize("classes", [0, 2, 3])
def test_native_boosters_are_published_as_their_estimators_are(library: str, classes: int) -> None:
    inputs, target = load_diabetes(return_X_y=True)
    if classes:
        target = np.digitize(target, np.quantile(target, np.linspace(0, 1, classes + 1)[1:-1]))
    objective = {
        "xgboost": {0: "reg:squarederror", 2: "binary:logistic", 3: "multi:softprob"},
        "lightgbm": {0: "regression", 2: "binary", 3: "multiclass"},
    }[library][classes]
    parameters = {"objective": objective} | ({"num_class": classes} if classes > 2 else {})
    if library == "xgboost":
        booster: Any = xgboost.train(parameters, xgboost.DMatrix(inputs, target), num_boost_round=5)
    else:
        booster = lightgbm.train(parameters | {"verbose": -1}, lightgbm.Dataset(inputs, target), num_boost_round=5)
    made = draft(booster, inputs, target, name="progression")
    assert made.methods.estimator == [f"{library}.Booster"]
    assert made.metrics.task == ("multi-class" if classes > 2 else "binary" if classes else "regression")


@pytest.mark.parametrize("objective", ["count:poisson", "reg:tweedie", "reg:gamma", "reg:absoluteerror"])
def test_the_links_of_xgboost_are_kept(objective: str) -> None:
    inputs, target = load_diabetes(return_X_y=True)
    model = xgboost.XGBRegressor(n_estimators=5, max_depth=3, objective=objective).fit(inputs, target)
    made = draft(model, inputs, target, name="progression")
    assert made.metrics.parity_max_error is not None
    assert made.metrics.parity_max_error <= SINGLE * target.max()


@pytest.mark.parametrize("objective", ["poisson", "tweedie", "gamma", "mae", "quantile", "huber"])
def test_the_links_of_lightgbm_are_kept(objective: str) -> None:
    inputs, target = load_diabetes(return_X_y=True)
    model = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, objective=objective).fit(inputs, target)
    made = draft(model, inputs, target, name="progression")
    assert made.metrics.parity_max_error is not None
    assert made.metrics.parity_max_error <= EXACT * target.max()


def test_what_cannot_be_computed_alike_is_refused_with_its_reason(penguins: tuple[Any, Any]) -> None:
    inputs, target = load_diabetes(return_X_y=True)
    dart = xgboost.XGBRegressor(n_estimators=3, booster="dart").fit(inputs, target)
    strange = xgboost.XGBRegressor(n_estimators=3, objective="reg:squaredlogerror").fit(inputs, target)
    zeros = lightgbm.LGBMRegressor(n_estimators=3, verbose=-1, zero_as_missing=True).fit(inputs, target)
    for model, reason in ((dart, "'dart'"), (strange, "squaredlogerror"), (zeros, "zero_as_missing")):
        with pytest.raises(ConversionRefused, match=reason):
            draft(model, inputs, target, name="progression")
    table, species = penguins
    texts = table[["island", "year"]]
    cat = catboost.CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False, cat_features=["island"])
    with pytest.raises(ConversionRefused, match="numeric features only"):
        draft(cat.fit(texts, species), texts, species, name="penguins")
