"""Importing MLflow model directories: data is read without running code, and code runs only where it is allowed to."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import joblib
import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import sabia
from sabia.__main__ import main
from sabia.store.objects import Store
from tests.graphs import a_network, save, save_rows

IRIS, KINDS = load_iris(return_X_y=True, as_frame=True)
ROWS = IRIS.assign(kind=KINDS)
DOUBLES = [{"type": "double", "name": name, "required": True} for name in IRIS]
LONG = [{"type": "long", "name": "kind", "required": True}]


def directory(folder: Path, flavors: dict[str, Any], inputs: Any = DOUBLES, outputs: Any = LONG) -> Path:
    """A directory as MLflow writes it, without the files of its flavors."""
    folder.mkdir(exist_ok=True)
    signature = {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}
    document = {"flavors": flavors, "mlflow_version": "3.17.2", "signature": signature if inputs else None}
    (folder / "MLmodel").write_text(yaml.safe_dump(document))
    return folder


def imported(model: Path, **options: Any) -> sabia.Published:
    """The version of a directory, in a store of its own."""
    given = {"name": "m", "store": "memory://", "reference": ROWS} | options
    return sabia.import_model(model, **given)


def refusal(model: Path, **options: Any) -> str:
    """The sentence with which an import is refused."""
    with pytest.raises(sabia.SabiaError) as refused:
        imported(model, **options)
    text = str(refused.value)
    assert "\n" not in text
    assert str(model.parent) not in text
    return text


XGBOOST = xgboost.XGBClassifier(n_estimators=3)
LIGHTGBM = lightgbm.LGBMClassifier(n_estimators=3, verbose=-1)
CATBOOST = catboost.CatBoostClassifier(iterations=3, verbose=0, allow_writing_files=False)
SCALED = make_pipeline(StandardScaler(), LogisticRegression())
# By name: the estimator, its file, and its flavors in MLmodel.
DATA: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "sklearn as skops": (SCALED, "model.skops", {"sklearn": {"pickled_model": "model.skops"}}),
    "xgboost": (
        XGBOOST,
        "model.ubj",
        {"xgboost": {"data": "model.ubj", "model_class": "xgboost.XGBClassifier"}},
    ),
    "xgboost of an older MLflow": (XGBOOST, "model.xgb", {"xgboost": {"data": "model.xgb"}}),
    "lightgbm": (LIGHTGBM, "model.lgb", {"lightgbm": {"data": "model.lgb"}}),
    "lightgbm as skops": (LIGHTGBM, "model.skops", {"lightgbm": {"data": "model.skops"}}),
    "catboost": (CATBOOST, "model.cb", {"catboost": {"data": "model.cb", "save_format": "cbm"}}),
}


def write(estimator: Any, path: Path) -> None:
    """Write a file as the estimator's own library does."""
    if path.suffix == ".skops":
        skops.io.dump(estimator, path)
    elif path.suffix == ".xgb":
        path.write_bytes(estimator.get_booster().save_raw("ubj"))
    else:
        getattr(estimator, "booster_", estimator).save_model(str(path))


@pytest.mark.parametrize("flavor", DATA)
def test_a_flavor_that_is_data_is_read_without_running_code(store: Store, tmp_path: Path, flavor: str) -> None:
    """The signature names the columns, in whatever order the table has them, and the target."""
    unfitted, file, flavors = DATA[flavor]
    estimator = clone(unfitted).fit(IRIS, KINDS)
    folder = directory(tmp_path / "m", flavors | {"python_function": {"loader_module": "gone.missing"}})
    write(estimator, folder / file)
    shuffled = ROWS[["kind", *reversed(IRIS.columns)]].assign(unused=1.0)
    manifest = imported(folder, store=store, reference=shuffled).manifest
    assert [each.name for each in manifest.inputs] == list(IRIS)
    assert (manifest.target, manifest.metrics.task) == ("kind", "multi-class")
    assert manifest.metrics.values["accuracy"] > 0.9
    answers = sabia.load(store, "m", "1.0").predict({name: IRIS[name].to_numpy() for name in IRIS})
    assert answers["label"].tolist() == np.ravel(estimator.predict(IRIS)).tolist()


@pytest.mark.parametrize("dump", [pickle.dump, joblib.dump], ids=["pickle", "joblib"])
def test_a_pickle_is_loaded_only_where_code_may_run(store: Store, tmp_path: Path, dump: Callable[..., object]) -> None:
    estimator = clone(SCALED).fit(IRIS, KINDS)
    folder = directory(tmp_path / "m", {"sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle"}})
    with (folder / "model.pkl").open("wb") as file:
        dump(estimator, file)
    assert refusal(folder) == (
        "model.pkl holds an MLflow model of the flavor sklearn as a pickle, which runs code when it is loaded; if you "
        "trust it, --run-code (in Python run_code=True) runs it here, once, and the version itself stays data."
    )
    manifest = imported(folder, store=store, run_code=True).manifest
    assert manifest.methods.estimator == ["sklearn.StandardScaler", "sklearn.LogisticRegression"]
    alone = (folder / "model.pkl").rename(tmp_path / "alone.pkl")
    assert refusal(alone, target="kind").startswith("alone.pkl holds a pickle, which runs code when it is loaded;")
    assert imported(alone, store=store, target="kind", run_code=True).manifest.version == "1.0"


class Touch:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["m", "model.pkl", "model.joblib"])
def test_without_the_flag_no_code_runs(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "ran"
    folder = directory(tmp_path / "m", {"sklearn": {"pickled_model": "model.pkl"}})
    for path in (folder / "model.pkl", tmp_path / "model.pkl", tmp_path / "model.joblib"):
        path.write_bytes(pickle.dumps(Touch(marker)))
    refusal(tmp_path / name, target="kind")
    assert not marker.exists()
    assert refusal(tmp_path / name, target="kind", run_code=True)
    assert marker.exists()


def test_a_pickle_that_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    folder = directory(tmp_path / "m", {"sklearn": {"pickled_model": "model.pkl"}})
    for content, sentence in [
        (b"", "model.pkl cannot be loaded as a pickle: "),
        (b"no pickle", "model.pkl cannot be loaded as a pickle: "),
        (b"cacme_gone\nModel\n.", "model.pkl needs the module 'acme_gone', which is not installed here."),
        (b"cjson\nModel\n.", "model.pkl cannot be loaded as a pickle: "),
        (pickle.dumps({"a": 1}), "Dict has no predict(); give a fitted estimator or pipeline."),
    ]:
        (folder / "model.pkl").write_bytes(content)
        assert refusal(folder, run_code=True).startswith(sentence)


def test_modules_that_were_saved_with_the_model_are_found(tmp_path: Path) -> None:
    """As `code_paths` of MLflow. A function is no estimator, so it is refused for that, and not for its module."""
    name = "a_module_saved_with_a_model"
    folder = directory(tmp_path / "m", {"sklearn": {"pickled_model": "model.pkl", "code": "code"}})
    (folder / "code").mkdir()
    (folder / "code" / f"{name}.py").write_text("def double(rows):\n    return 2 * rows\n")
    (folder / "model.pkl").write_bytes(f"c{name}\ndouble\n.".encode())
    before = list(sys.path)
    try:
        assert refusal(folder, run_code=True) == "Function has no predict(); give a fitted estimator or pipeline."
    finally:
        sys.path[:] = before
        sys.modules.pop(name, None)


def test_skops_types_that_are_not_data_are_loaded_only_where_code_may_run(tmp_path: Path) -> None:
    pipeline = make_pipeline(FunctionTransformer(np.log1p), LogisticRegression(max_iter=500)).fit(IRIS, KINDS)
    folder = directory(tmp_path / "m", {"sklearn": {"pickled_model": "model.skops"}})
    skops.io.dump(make_pipeline(FunctionTransformer(write), pipeline), folder / "model.skops")
    text = refusal(folder)
    assert text.startswith("model.skops holds types that are not trusted (")
    assert "if you trust it, --run-code" in text
    assert "not trusted" not in refusal(folder, run_code=True)


# The signature.


def test_the_types_of_the_signature_are_those_of_the_inputs(tmp_path: Path) -> None:
    """A column of whole numbers, which training had as numbers."""
    rows = {"hours": [1, 2, 3, 4, 5, 6] * 5, "city": ["a", "b", "c"] * 10, "left": [0, 0, 0, 1, 1, 1] * 5}
    table = type(IRIS)(rows)
    columns = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    estimator = make_pipeline(columns, LogisticRegression()).fit(table[["hours", "city"]], table["left"])
    inputs = [{"type": "double", "name": "hours"}, {"type": "string", "name": "city"}]
    folder = directory(tmp_path / "m", {"sklearn": {"pickled_model": "model.skops"}}, inputs, None)
    skops.io.dump(estimator, folder / "model.skops")
    manifest = imported(folder, reference=table, target="left").manifest
    assert {each.name: each.dtype for each in manifest.inputs} == {"hours": "float64", "city": "string"}
    assert refusal(folder, reference=table).startswith("The table of rows needs --target,")
    text = table.assign(hours=["one", "two", "three"] * 10)
    assert refusal(folder, reference=text, target="left") == (
        "The table of rows has string values in column 'hours'; the signature of m states double."
    )
    assert refusal(folder, reference=table.drop(columns="city"), target="left") == (
        "The table of rows has no column 'city', which the signature of m names; it has 'hours', 'left'."
    )


def test_the_signature_names_the_features_of_a_graph(tmp_path: Path) -> None:
    inputs = [{"type": "float", "name": name} for name in "dcba"]
    folder = directory(tmp_path / "m", {"onnx": {"data": "model.onnx"}}, inputs, LONG)
    save(a_network(), folder / "model.onnx")
    rows = {name: np.linspace(0, 1, 9, dtype=np.float32) ** (at + 1) for at, name in enumerate("abcde")}
    assert [each.name for each in imported(folder, reference=rows).manifest.inputs] == list("dcba")
    assert "has no column 'd', which the signature of m names" in refusal(
        folder, reference={name: rows[name] for name in "abc"}
    )


@pytest.mark.parametrize(
    ("inputs", "columns"),
    [
        ([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 4]}}], list(IRIS)),
        ([{"type": "double"}] * 4, list(IRIS)),
        ([], list(IRIS)),
    ],
    ids=["tensor", "without names", "none"],
)
def test_without_names_in_the_signature_the_columns_are_all_but_the_target(
    tmp_path: Path, inputs: Any, columns: list[str]
) -> None:
    folder = directory(tmp_path / "m", {"sklearn": {"pickled_model": "model.skops"}}, inputs, None)
    skops.io.dump(clone(SCALED).fit(IRIS.to_numpy(), KINDS), folder / "model.skops")
    assert [each.name for each in imported(folder, target="kind").manifest.inputs] == columns


# Damaged directories, each with its sentence.


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("", "m/MLmodel is not the description of an MLflow model."),
        ("flavors: [", "m/MLmodel is not the description of an MLflow model."),
        ("just text", "m/MLmodel is not the description of an MLflow model."),
        ("- flavors", "m/MLmodel is not the description of an MLflow model."),
        ("flavors: {}", "m/MLmodel is not the description of an MLflow model."),
        ("flavors: onnx", "m/MLmodel is not the description of an MLflow model."),
        ("flavors: {onnx: model.onnx}", "m/MLmodel is not the description of an MLflow model."),
        ("flavors: !!python/object/apply:os.system [ls]", "m/MLmodel is not the description of an MLflow model."),
        ("\0", "m/MLmodel is not the description of an MLflow model."),
        ("[" * 5000, "m/MLmodel is not the description of an MLflow model."),
        ("flavors: {onnx: {}}", "m/MLmodel names no file of the flavor onnx inside the directory."),
        ("flavors: {onnx: {data: 7}}", "m/MLmodel names no file of the flavor onnx inside the directory."),
        ("flavors: {onnx: {data: .}}", "m/MLmodel names no file of the flavor onnx inside the directory."),
        ("flavors: {xgboost: {data: ../m.ubj}}", "m/MLmodel names no file of the flavor xgboost inside the directory."),
        ("flavors: {lightgbm: {data: /etc/passwd}}", "m/MLmodel names no file of the flavor lightgbm inside the "),
        ("flavors: {sklearn: {pickled_model: link}}", "m/MLmodel names no file of the flavor sklearn inside the "),
        ("flavors: {sklearn: {pickled_model: m.skops}}", "m has no file m.skops, which its MLmodel names."),
        ("flavors: {sklearn: {pickled_model: a.pkl, code: ../x}}", "m/MLmodel names a folder of code outside the "),
        ("flavors: {xgboost: {data: a.pkl}}", "a.pkl holds an MLflow model of the flavor xgboost as a pickle, which "),
        ("flavors: {catboost: {data: text}}", "text is truncated, or not a model of CatBoost."),
        ("flavors: {xgboost: {data: text}}", "text is truncated, or not a model of XGBoost."),
        ("flavors: {spark: {}}", "m is an MLflow model of the flavor spark, which is neither read nor loaded here."),
        ("flavors: {pytorch: {}, python_function: {}}", "m holds an MLflow model of the flavor pytorch, which runs "),
        ("flavors: {python_function: {}}", "m holds an MLflow model of the flavor python_function, which runs code "),
        ("{flavors: {onnx: {data: text}}, signature: text}", "m/MLmodel has a signature that cannot be read."),
        ("{flavors: {onnx: {data: text}}, signature: {inputs: '{'}}", "m/MLmodel has a signature that cannot be read."),
        ("{flavors: {onnx: {data: text}}, signature: {inputs: '7'}}", "m/MLmodel has a signature that cannot be read."),
        ("{flavors: {onnx: {data: text}}, signature: {inputs: '[7]'}}", "m/MLmodel has a signature that cannot be"),
        ("{flavors: {onnx: {data: text}}, signature: {inputs: 7}}", "m/MLmodel has a signature that cannot be read."),
    ],
)
def test_a_damaged_directory_is_refused(tmp_path: Path, document: str, sentence: str) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (tmp_path / "m.ubj").write_bytes(b"{}")
    (folder / "link").symlink_to(tmp_path / "m.ubj")
    (folder / "text").write_text("some text")
    (folder / "a.pkl").write_bytes(b"\x80\x04N.")
    (folder / "MLmodel").write_text(document)
    assert refusal(folder, target="kind").startswith(sentence)
    assert refusal(folder / "MLmodel", target="kind").startswith(sentence)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["model.onnx", "..", "/", "[]"]),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    flavors=st.dictionaries(st.sampled_from(["onnx", "xgboost", "sklearn", "python_function", "other"]), ANYTHING)
    | ANYTHING,
    signature=st.none() | st.fixed_dictionaries({"inputs": ANYTHING, "outputs": ANYTHING}) | ANYTHING,
)
def test_whatever_the_description_is_the_reason_is_one_sentence(tmp_path: Path, flavors: Any, signature: Any) -> None:
    folder = tmp_path / "m"
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors, "signature": signature}))
    assert refusal(folder)


def test_the_command_says_what_the_flag_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = directory(tmp_path / "m", {"sklearn": {"pickled_model": "model.pkl"}})
    (folder / "model.pkl").write_bytes(pickle.dumps(clone(SCALED).fit(IRIS, KINDS)))
    rows = save_rows(tmp_path / "rows.parquet", **{name: ROWS[name].to_numpy() for name in ROWS})
    line = ["import", str(folder), "--name", "m", "--reference", str(rows), "--store", (tmp_path / "s").as_uri()]
    assert main(line) == 1
    assert "--run-code (in Python run_code=True) runs it here, once" in capsys.readouterr().err
    assert main([*line, "--run-code"]) == 0
    assert capsys.readouterr().out == "m 1.0: first version\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_directories_of_mlflow_itself(tmp_path: Path) -> None:
    """As MLflow writes them today, its own formats by default."""
    from mlflow import catboost as of_catboost
    from mlflow import lightgbm as of_lightgbm
    from mlflow import pyfunc
    from mlflow import sklearn as of_sklearn
    from mlflow import xgboost as of_xgboost
    from mlflow.models import infer_signature

    class Constant(pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
            return np.ones(len(model_input))

    signature = infer_signature(IRIS, KINDS.to_frame("kind"))
    saved = {"signature": signature, "pip_requirements": ["numpy"]}
    fitted = {name: clone(each).fit(IRIS, KINDS) for name, (each, *_) in DATA.items()}
    of_sklearn.save_model(fitted["sklearn as skops"], tmp_path / "skops", serialization_format="skops", **saved)
    of_sklearn.save_model(fitted["sklearn as skops"], tmp_path / "pickle", serialization_format="cloudpickle", **saved)
    of_xgboost.save_model(fitted["xgboost"], tmp_path / "xgboost", **saved)
    of_lightgbm.save_model(fitted["lightgbm"], tmp_path / "lightgbm", **saved)
    of_lightgbm.save_model(fitted["lightgbm"].booster_, tmp_path / "booster", **saved)
    of_catboost.save_model(fitted["catboost"], tmp_path / "catboost", **saved)
    pyfunc.save_model(tmp_path / "own", python_model=Constant(), **saved)
    for name in ("skops", "xgboost", "lightgbm", "booster", "catboost"):
        assert imported(tmp_path / name).manifest.metrics.values["accuracy"] > 0.9
    assert refusal(tmp_path / "pickle").startswith("model.pkl holds an MLflow model of the flavor sklearn")
    assert imported(tmp_path / "pickle", run_code=True).manifest.metrics.values["accuracy"] > 0.9
    assert refusal(tmp_path / "own").startswith("own holds an MLflow model of the flavor python_function, which runs")
    assert refusal(tmp_path / "own", run_code=True).startswith("The model is code and not an estimator;")
