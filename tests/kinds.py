"""Every kind of model that a team brings: how it becomes a version, rows to ask it with, and the truths of them."""

from __future__ import annotations

import tempfile
import warnings
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import ModelProto, TensorProto, helper
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

import sabia
from sabia.__main__ import main
from tests.graphs import End, a_graph, a_network, save, save_rows

PENGUIN_NUMBERS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
PENGUIN_STRINGS = ["island", "sex"]


# What PyTorch exported, and its own answers for the first rows (scripts/export_digits.py).
TORCH = Path(__file__).parent / "data" / "torch"


@dataclass(frozen=True)
class Table:
    """Rows with the truth of each; a cell of `inputs` may be an array, of a tensor.

    Attributes:
        at: 0 for the rows of the first version, 1 for those of the second.
    """

    inputs: pd.DataFrame
    target: Any
    at: int = 0


@dataclass(frozen=True)
class Kind:
    """One kind of model.

    Attributes:
        name: the row of the matrix.
        table: the inputs and the target.
        publish: makes a table's version in the store of a URL, under a name; None for code, which is not published.
        model_class: of the server; None for a version as it is.
    """

    name: str
    table: Callable[[], tuple[Any, Any]]
    publish: Callable[[str, str, Table], None] | None
    model_class: str | None = None


def bunch(load: Callable[..., Any]) -> Callable[[], tuple[pd.DataFrame, Any]]:
    """A data set of scikit-learn's, shuffled."""

    def table() -> tuple[pd.DataFrame, Any]:
        loaded = load(as_frame=True)
        return loaded.data.sample(frac=1, random_state=0), loaded.target.sample(frac=1, random_state=0)

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


def _fitted(make: Callable[[], Any]) -> Callable[[str, str, Table], None]:
    """Publishing an estimator, fitted on the rows of the version."""

    def publish(store: str, name: str, table: Table) -> None:
        fitted = make().fit(table.inputs, table.target)
        sabia.publish(fitted, table.inputs, table.target, store=store, name=name)

    return publish


def estimator(name: str, make: Callable[[], Any], table: Callable[[], tuple[Any, Any]]) -> Kind:
    """The kind of an estimator that `sabia.publish` takes."""
    return Kind(name, table, _fitted(make))


# What `sabia import` takes: each writes a file of another tool, and imports it with its rows.


def digits() -> tuple[pd.DataFrame, pd.Series]:
    """The first hundred of scikit-learn's digits, as images of shape (1, 8, 8)."""
    loaded = datasets.load_digits()
    images = (loaded.images[:100, None] / 16).astype(np.float32)
    return pd.DataFrame({"image": [*images]}), pd.Series(loaded.target[:100])


def measures() -> tuple[pd.DataFrame, pd.Series]:
    """Iris as float32."""
    inputs, target = bunch(datasets.load_iris)()
    return inputs.astype(np.float32), target


def pictures() -> tuple[pd.DataFrame, pd.Series]:
    """Small pictures of noise, and what they are said to show."""
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 32, 32), dtype=np.int64)
    return pd.DataFrame({"picture": [*images]}), pd.Series(["cat", "dog"] * 20)


def visits() -> tuple[pd.DataFrame, pd.Series]:
    """Tokens as bytes, times, and seconds of stay."""
    source = np.random.default_rng(0)
    tokens = np.array([b"new", b"returning", b"staff"], dtype=object)[source.integers(0, 3, 200)]
    times = pd.to_datetime("2026-01-01T00:00:00Z") + pd.to_timedelta(source.integers(0, 86_400, 200), unit="s")
    return pd.DataFrame({"token": tokens, "seen": times}), pd.Series(source.uniform(10, 100, 200))


def _import(store: str, name: str, model: Path, table: Table, *options: str, target: str | None = None) -> None:
    """`sabia import` of a file, with the rows of a table as its reference."""
    inputs = table.inputs
    if target is not None:
        inputs = inputs.assign(**{target: table.target})
        options = (*options, "--target", target)
    if any(isinstance(cell, np.ndarray) for cell in inputs.iloc[0]):
        columns = {column: np.stack([*inputs[column]]) for column in inputs}
        reference = save_rows(model.parent / "rows.npz", **columns)
    else:
        reference = model.parent / "rows.parquet"
        inputs.to_parquet(reference, index=False)
    line = ["import", str(model), "--name", name, "--reference", str(reference), "--store", store, *options]
    assert main(line) == 0


def _written(
    write: Callable[[Table, Path], Path], *options: str, target: str | None = None
) -> Callable[[str, str, Table], None]:
    """Importing the file, or the directory, that `write` writes into a folder."""

    def publish(store: str, name: str, table: Table) -> None:
        with tempfile.TemporaryDirectory() as folder:
            _import(store, name, write(table, Path(folder)), table, *options, target=target)

    return publish


def _torch(store: str, name: str, table: Table, *, weights: str | None = None) -> None:
    exported = TORCH / ("half", "all")[table.at]
    # Each version has the same rows: they are those of which PyTorch's answers are known.
    rows = Table(digits()[0], None)
    with tempfile.TemporaryDirectory() as folder:
        model = save(onnx.load(exported.with_suffix(".onnx")), Path(folder) / "digits.onnx", weights=weights)
        _import(store, name, model, rows, "--expected", str(exported.with_suffix(".npz")))


_torch_with_weights = partial(_torch, weights="digits.onnx.data")


def _write_mlflow(table: Table, folder: Path) -> Path:
    from skl2onnx import to_onnx

    rows = table.inputs.to_numpy(np.float32)
    model = to_onnx(LogisticRegression(max_iter=1000).fit(rows, table.target), rows[:1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of type hints in MLflow's own modules
        import mlflow.onnx

        mlflow.onnx.save_model(model, folder / "model")
    return folder / "model"


def _write_skops(table: Table, folder: Path) -> Path:
    import skops.io

    fitted = HistGradientBoostingClassifier(max_iter=20).fit(table.inputs, table.target)
    skops.io.dump(fitted, folder / "model.skops")
    return folder / "model.skops"


def _write_xgboost(table: Table, folder: Path) -> Path:
    _xgboost().fit(table.inputs, table.target).save_model(folder / "model.ubj")
    return folder / "model.ubj"


def _write_embedding(table: Table, folder: Path) -> Path:
    return save(a_network(answers=16, last="Tanh", seed=table.at), folder / "model.onnx")


def _write_picture_embedding(table: Table, folder: Path) -> Path:
    weights = np.random.default_rng(table.at).standard_normal((16, 3, 5, 5), dtype=np.float32) / np.float32(1000)
    nodes = [
        helper.make_node("Cast", ["picture"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["float", "weights"], ["convolved"]),
        helper.make_node("GlobalMaxPool", ["convolved"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    ends: tuple[list[End], list[End]] = (
        [("picture", TensorProto.UINT8, ["n", 3, 32, 32])],
        [("embedding", TensorProto.FLOAT, ["n", 16])],
    )
    return save(a_graph(nodes, *ends, {"weights": weights}), folder / "model.onnx")


def _write_visits(table: Table, folder: Path) -> Path:
    return save(visits_graph(stay=60.0 + table.at), folder / "model.onnx")


def visits_graph(*, stay: float) -> ModelProto:
    """Seconds of stay by a token of bytes, less those since midnight by the thousand."""
    day = 86_400 * 10**6
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["token"],
            ["known"],
            domain="ai.onnx.ml",
            keys_strings=["new", "returning", "staff"],
            values_floats=[stay, stay / 2, stay / 4],
            default_float=0.0,
        ),
        helper.make_node("Mod", ["seen", "day"], ["of_day"]),
        helper.make_node("Cast", ["of_day"], ["microseconds"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["microseconds", "scale"], ["thousands"]),
        helper.make_node("Sub", ["known", "thousands"], ["stay"]),
    ]
    model = a_graph(
        nodes,
        [("token", TensorProto.STRING, ["n", 1]), ("seen", TensorProto.INT64, ["n", 1])],
        [("stay", TensorProto.FLOAT, ["n", 1])],
        {"day": np.array([day], dtype=np.int64), "scale": np.array([1e-9], dtype=np.float32)},
    )
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    return model


_mlflow = _written(_write_mlflow)
_skops = _written(_write_skops, target="kind")
_xgboost_file = _written(_write_xgboost, target="kind")
_embedding = _written(_write_embedding)
_picture_embedding = _written(_write_picture_embedding)
_visits = _written(_write_visits)


def masses() -> tuple[pd.DataFrame, pd.Series]:
    """Two measurements of penguins without nulls, and their mass in grams."""
    rows = load_penguins().dropna().sample(frac=1, random_state=0)
    return rows[["bill_length_mm", "flipper_length_mm"]], rows["body_mass_g"]


KINDS = [
    estimator(
        "scikit-learn: logistic regression",
        lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        bunch(datasets.load_breast_cancer),
    ),
    estimator("scikit-learn: linear regression", LinearRegression, bunch(datasets.load_diabetes)),
    estimator("scikit-learn: ridge, three targets", Ridge, bunch(datasets.load_linnerud)),
    estimator(
        "scikit-learn: random forest, three classes",
        lambda: RandomForestClassifier(n_estimators=20, random_state=0),
        bunch(datasets.load_iris),
    ),
    estimator(
        "scikit-learn: histogram boosting",
        lambda: HistGradientBoostingClassifier(max_iter=20),
        bunch(datasets.load_breast_cancer),
    ),
    estimator("scikit-learn: gradient boosting, a number", GradientBoostingRegressor, bunch(datasets.load_diabetes)),
    estimator("scikit-learn: nearest neighbours", KNeighborsClassifier, bunch(datasets.load_wine)),
    estimator("scikit-learn: decision tree", lambda: DecisionTreeClassifier(max_depth=4), bunch(datasets.load_iris)),
    estimator(
        "scikit-learn: neural network, ten classes",
        lambda: make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=300, tol=1e-2, random_state=0)),
        bunch(datasets.load_digits),
    ),
    estimator("pipeline: strings, nulls, imputers, forest", _penguin_pipeline, penguins),
    estimator("pipeline: strings, nulls, boosting", _penguin_boosting, penguins),
    estimator(
        "pipeline: scaler, components, support vectors",
        lambda: make_pipeline(StandardScaler(), PCA(5), CalibratedClassifierCV(SVC(), ensemble=False)),
        bunch(datasets.load_wine),
    ),
    estimator("text: TF-IDF, logistic regression", _text_pipeline, reviews),
    estimator("XGBoost", _xgboost, bunch(datasets.load_breast_cancer)),
    estimator("LightGBM, a number", _lightgbm, bunch(datasets.load_diabetes)),
    estimator("CatBoost", _catboost, bunch(datasets.load_breast_cancer)),
    Kind("PyTorch: convolutions over images, ten classes", digits, _torch),
    Kind("PyTorch: the same file, weights beside it", digits, _torch_with_weights),
    Kind("MLflow directory of the ONNX flavor", bunch(datasets.load_iris), _mlflow),
    Kind("skops file: histogram boosting", bunch(datasets.load_wine), _skops),
    Kind("XGBoost file", bunch(datasets.load_breast_cancer), _xgboost_file),
    Kind("vectors: an embedding of four columns", measures, _embedding),
    Kind("vectors: an embedding of images of 3 x 32 x 32 bytes", pictures, _picture_embedding),
    Kind("bytes and times, a number", visits, _visits),
    Kind("kserve.Model, own steps before and after", masses, None, model_class="tests.own_models:BodyMass"),
    Kind(
        "ArtifactModel around a version, own steps before and after",
        bunch(datasets.load_diabetes),
        _fitted(LinearRegression),
        model_class="tests.own_steps:Rounded",
    ),
]


def tables(kind: Kind) -> list[Table]:
    """Rows for two versions: other data, same methods; half of the rows, then all of them."""
    inputs, target = kind.table()
    half = len(inputs) // 2
    return [Table(inputs.iloc[:half], target.iloc[:half]), Table(inputs, target, 1)]


def records(inputs: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them: a missing value is null, bytes are base64, a time is RFC 3339, a tensor nested lists."""
    return [{name: _cell(value) for name, value in row.items()} for row in inputs.to_dict("records")]


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": b64encode(value).decode()}
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
