"""Every kind of model that a team brings: how it becomes a version, rows to ask it with, and the truths of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from palmerpenguins import load_penguins
from sklearn import datasets
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

PENGUIN_NUMBERS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
PENGUIN_STRINGS = ["island", "sex"]


@dataclass(frozen=True)
class Kind:
    """One kind of model.

    Attributes:
        name: the row of the matrix.
        make: a new, unfitted estimator.
        table: the inputs and the target to fit it on.
    """

    name: str
    make: Callable[[], Any]
    table: Callable[[], tuple[Any, Any]]


def _bunch(load: Callable[..., Any]) -> Callable[[], tuple[pd.DataFrame, Any]]:
    def table() -> tuple[pd.DataFrame, Any]:
        bunch = load(as_frame=True)
        return bunch.data.sample(frac=1, random_state=0), bunch.target.sample(frac=1, random_state=0)

    return table


def penguins() -> tuple[pd.DataFrame, pd.Series]:
    """344 penguins of three species; some lack their sex or every measurement."""
    rows = load_penguins().sample(frac=1, random_state=0)
    return rows[PENGUIN_STRINGS + PENGUIN_NUMBERS], rows["species"]


def reviews() -> tuple[pd.DataFrame, pd.Series]:
    """Short texts and whether they are praise."""
    subjects, praise, blame = ["the room", "breakfast", "the staff"], ["was lovely", "delights"], ["was awful", "bores"]
    texts = [(f"{each} {words}", words in praise) for each in subjects for words in praise + blame] * 20
    rows = pd.DataFrame(texts, columns=["review", "praise"]).sample(frac=1, random_state=0)
    return rows[["review"]], rows["praise"].astype(int)


def _xgboost() -> Any:
    from xgboost import XGBClassifier

    return XGBClassifier(n_estimators=20)


def _lightgbm() -> Any:
    from lightgbm import LGBMRegressor

    return LGBMRegressor(n_estimators=20, verbose=-1)


def _catboost() -> Any:
    from catboost import CatBoostClassifier

    return CatBoostClassifier(iterations=20, verbose=False, allow_writing_files=False)


def _penguin_pipeline() -> Any:
    strings = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    encoded = make_column_transformer((strings, PENGUIN_STRINGS), (numbers, PENGUIN_NUMBERS))
    return make_pipeline(encoded, RandomForestClassifier(n_estimators=20, random_state=0))


def _penguin_boosting() -> Any:
    encoded = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), PENGUIN_STRINGS), remainder="passthrough"
    )
    return make_pipeline(encoded, HistGradientBoostingClassifier(max_iter=20))


def _text_pipeline() -> Any:
    return make_pipeline(make_column_transformer((TfidfVectorizer(), "review")), LogisticRegression())


KINDS = [
    Kind(
        "scikit-learn: logistic regression",
        lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        _bunch(datasets.load_breast_cancer),
    ),
    Kind("scikit-learn: linear regression", LinearRegression, _bunch(datasets.load_diabetes)),
    Kind("scikit-learn: ridge, three targets", Ridge, _bunch(datasets.load_linnerud)),
    Kind(
        "scikit-learn: random forest, three classes",
        lambda: RandomForestClassifier(n_estimators=20, random_state=0),
        _bunch(datasets.load_iris),
    ),
    Kind(
        "scikit-learn: histogram boosting",
        lambda: HistGradientBoostingClassifier(max_iter=20),
        _bunch(datasets.load_breast_cancer),
    ),
    Kind("scikit-learn: gradient boosting, a number", GradientBoostingRegressor, _bunch(datasets.load_diabetes)),
    Kind("scikit-learn: nearest neighbours", KNeighborsClassifier, _bunch(datasets.load_wine)),
    Kind("scikit-learn: decision tree", lambda: DecisionTreeClassifier(max_depth=4), _bunch(datasets.load_iris)),
    Kind(
        "scikit-learn: neural network, ten classes",
        lambda: make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=300, tol=1e-2, random_state=0)),
        _bunch(datasets.load_digits),
    ),
    Kind("pipeline: strings, nulls, imputers, forest", _penguin_pipeline, penguins),
    Kind("pipeline: strings, nulls, boosting", _penguin_boosting, penguins),
    Kind(
        "pipeline: scaler, components, support vectors",
        lambda: make_pipeline(StandardScaler(), PCA(5), CalibratedClassifierCV(SVC(), ensemble=False)),
        _bunch(datasets.load_wine),
    ),
    Kind("text: TF-IDF, logistic regression", _text_pipeline, reviews),
    Kind("XGBoost", _xgboost, _bunch(datasets.load_breast_cancer)),
    Kind("LightGBM, a number", _lightgbm, _bunch(datasets.load_diabetes)),
    Kind("CatBoost", _catboost, _bunch(datasets.load_breast_cancer)),
]


def parts(kind: Kind) -> list[tuple[Any, Any]]:
    """Two tables to fit two versions on: other data, same methods; half of the rows, then all of them."""
    inputs, target = kind.table()
    half = len(inputs) // 2
    return [(inputs.iloc[:half], target.iloc[:half]), (inputs, target)]


def records(inputs: pd.DataFrame, count: int) -> list[dict[str, Any]]:
    """Rows as JSON has them: a value that is missing is null."""
    rows: list[dict[str, Any]] = (
        inputs.head(count).astype(object).where(inputs.head(count).notna(), None).to_dict("records")
    )
    return [
        {name: value.item() if isinstance(value, np.generic) else value for name, value in row.items()} for row in rows
    ]
