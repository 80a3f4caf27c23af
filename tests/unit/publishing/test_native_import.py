"""Importing files of XGBoost, LightGBM, CatBoost and skops: the version answers as the library does, or is refused."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import sabia
from sabia.__main__ import main
from sabia.contract.signature import Bins
from sabia.errors import SabiaError
from sabia.publishing.importing.draft import choices_of, imported
from sabia.publishing.importing.errors import AnswersDiffer, ImportRefused
from sabia.registry.claim import publish
from sabia.serving.inference.loading import check_draft
from sabia.store.objects import Store
from tests.graphs import save_rows

IRIS, KINDS = load_iris(return_X_y=True, as_frame=True)
IRIS.columns = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
IS_VIRGINICA = (KINDS == 2).astype(int)
DIABETES, PROGRESS = load_diabetes(return_X_y=True, as_frame=True)


def saved(estimator: Any, path: Path) -> Path:
    """The file that the library itself writes."""
    if path.suffix == ".skops":
        skops.io.dump(estimator, path)
    else:
        getattr(estimator, "booster_", estimator).save_model(str(path))
    return path


def table(path: Path, frame: Any, target: Any, name: str = "kind") -> Path:
    """The rows with their target, as Parquet."""
    return save_rows(path, **{column: frame[column].to_numpy() for column in frame}, **{name: target.to_numpy()})


BINARY: dict[str, Callable[[], Any]] = {
    "m.ubj": lambda: xgboost.XGBClassifier(n_estimators=5),
    "m.json": lambda: xgboost.XGBClassifier(n_estimators=5),
    "m.lgb": lambda: lightgbm.LGBMClassifier(n_estimators=5, verbose=-1),
    "m.txt": lambda: lightgbm.LGBMClassifier(n_estimators=5, verbose=-1),
    "m.cbm": lambda: catboost.CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False),
    "m.skops": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "forest.skops": lambda: RandomForestClassifier(5, random_state=0),
    "boosted.skops": lambda: HistGradientBoostingClassifier(max_iter=5),
}


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
@pytest.mark.parametrize("file", BINARY)
def test_the_version_answers_as_the_library_does(store: Store, tmp_path: Path, file: str, *, named: bool) -> None:
    fitted = BINARY[file]().fit(IRIS if named else IRIS.to_numpy(), IS_VIRGINICA)
    answers = np.asarray(fitted.predict_proba(IRIS if named else IRIS.to_numpy())[:, 1], dtype=np.float64)
    reference = table(tmp_path / "rows.parquet", IRIS, IS_VIRGINICA)
    expected = save_rows(tmp_path / "answers.parquet", kind=answers)
    model = saved(fitted, tmp_path / file)
    with imported("m", model, reference=reference, expected=expected, choices=choices_of(target="kind")) as draft:
        check_draft(draft)
        manifest = publish(store, draft).manifest
    assert [each.name for each in manifest.inputs] == list(IRIS)
    assert (manifest.target, manifest.metrics.task, manifest.signature.primary_output.role) == (
        "kind",
        "binary",
        "probability",
    )
    assert manifest.provenance.dataset is not None
    assert manifest.provenance.dataset.uri == "rows.parquet"
    predicted = sabia.load(store, "m", "1.0").predict(IRIS.to_numpy())
    np.testing.assert_allclose(predicted, answers, atol=1e-5)


@pytest.mark.parametrize("file", ["m.ubj", "m.lgb", "m.cbm", "m.skops"])
def test_several_classes_give_a_label_that_is_counted(tmp_path: Path, file: str) -> None:
    model = saved(BINARY[file]().fit(IRIS, KINDS), tmp_path / file)
    reference = table(tmp_path / "rows.parquet", IRIS, KINDS)
    with imported("m", model, reference=reference, choices=choices_of(target="kind")) as draft:
        check_draft(draft)
        assert draft.signature.bins == Bins(kind="classes", classes=[0, 1, 2])
        assert draft.metrics.values["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("file", "regressor"),
    [
        ("m.ubj", xgboost.XGBRegressor(n_estimators=5)),
        ("m.lgb", lightgbm.LGBMRegressor(n_estimators=5, verbose=-1)),
        ("m.cbm", catboost.CatBoostRegressor(iterations=5, verbose=0, allow_writing_files=False)),
    ],
)
def test_a_regressor_gives_a_value(tmp_path: Path, file: str, regressor: Any) -> None:
    model = saved(regressor.fit(DIABETES, PROGRESS), tmp_path / file)
    reference = table(tmp_path / "rows.parquet", DIABETES, PROGRESS, "progress")
    with imported("m", model, reference=reference, choices=choices_of(target="progress")) as draft:
        check_draft(draft)
        assert draft.metrics.task == "regression"
        assert draft.signature.primary_output.role == "value"


def test_the_columns_go_to_the_model_by_name(tmp_path: Path) -> None:
    model = saved(BINARY["m.cbm"]().fit(IRIS, IS_VIRGINICA), tmp_path / "m.cbm")
    shuffled = IRIS[list(IRIS)[::-1]].assign(ignored=0.0)
    reference = table(tmp_path / "rows.parquet", shuffled, IS_VIRGINICA)
    with imported("m", model, reference=reference, choices=choices_of(target="kind")) as draft:
        assert [each.name for each in draft.signature.inputs] == list(IRIS)


def test_the_command_publishes_a_native_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = saved(BINARY["m.ubj"]().fit(IRIS, IS_VIRGINICA), tmp_path / "m.ubj")
    reference = table(tmp_path / "rows.parquet", IRIS, IS_VIRGINICA)
    line = ["import", str(model), "--name", "m", "--reference", str(reference), "--store", (tmp_path / "s").as_uri()]
    assert main([*line, "--target", "kind", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "1.0"
    assert main(line) == 1
    assert capsys.readouterr().err.startswith("error: rows.parquet needs --target,")


# Wrong files and rows, each with its sentence.


def refusal(model: Path, reference: Path, target: str = "kind", **options: Any) -> str:
    """The sentence with which an import is refused."""
    with (
        pytest.raises(ImportRefused) as refused,
        imported("m", model, reference=reference, choices=choices_of(target=target, **options)),
    ):
        pass
    assert "\n" not in str(refused.value)
    assert str(model.parent) not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Irises with whether they are virginicas."""
    return table(tmp_path / "rows.parquet", IRIS, IS_VIRGINICA)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("file", ["m.ubj", "m.json", "m.lgb", "m.cbm", "m.skops"])
def test_a_truncated_file_is_refused(tmp_path: Path, rows: Path, file: str, share: float) -> None:
    model = saved(BINARY[file]().fit(IRIS, IS_VIRGINICA), tmp_path / file)
    whole = model.read_bytes()
    model.write_bytes(whole[: int(len(whole) * share)])
    assert refusal(model, rows).startswith(f"{file} is truncated, or not a model of ")


@pytest.mark.slow
@pytest.mark.parametrize("file", ["m.ubj", "m.json", "m.lgb", "m.cbm", "m.skops"])
def test_a_damaged_file_is_refused_or_read_and_never_ends_the_process(tmp_path: Path, rows: Path, file: str) -> None:
    """XGBoost and CatBoost read some damaged files past their end, which ends the process or takes all its memory."""
    whole = saved(BINARY[file]().fit(IRIS, IS_VIRGINICA), tmp_path / file).read_bytes()
    source, refused = random.Random(5), []
    for _ in range(12):
        damaged = bytearray(whole)
        at = source.randrange(len(damaged))
        damaged[at : at + source.choice([0, 1, 4])] = source.randbytes(source.choice([0, 1, 4]))
        (tmp_path / file).write_bytes(damaged)
        try:
            with imported("m", tmp_path / file, reference=rows, choices=choices_of(target="kind")):
                pass
        except SabiaError as error:
            refused.append(str(error))
    assert refused
    assert not any("\n" in sentence for sentence in refused)


@pytest.mark.parametrize("name", ["m.json", "m.ubj", "m.lgb", "m.skops"])
def test_a_file_of_another_library_is_refused(tmp_path: Path, rows: Path, name: str) -> None:
    model = saved(BINARY["m.cbm"]().fit(IRIS, IS_VIRGINICA), tmp_path / "m.cbm").rename(tmp_path / name)
    assert refusal(model, rows).startswith(f"{name} is truncated, or not a model of ")


def test_json_of_another_kind_is_refused(tmp_path: Path, rows: Path) -> None:
    (tmp_path / "m.json").write_text('{"a": 1}')
    assert refusal(tmp_path / "m.json", rows) == "m.json is JSON, but not a model of XGBoost."


def test_types_that_skops_does_not_trust_are_named(tmp_path: Path, rows: Path) -> None:
    pipeline = make_pipeline(FunctionTransformer(table), LogisticRegression())
    text = refusal(saved(pipeline, tmp_path / "m.skops"), rows)
    assert text.startswith("m.skops holds types that are not trusted (")
    assert f"{table.__module__}.table" in text


def test_rows_that_do_not_fit_are_refused(tmp_path: Path, rows: Path) -> None:
    model = saved(BINARY["m.ubj"]().fit(IRIS, IS_VIRGINICA), tmp_path / "m.ubj")
    assert refusal(model, rows, "colour").startswith("rows.parquet has no column 'colour'; it has 'sepal_length',")
    assert refusal(model, rows, "petal_width") == "rows.parquet has no column 'petal_width', which the model takes."
    assert refusal(model, rows, classes="a,b").startswith("The model states its own outputs; leave out --primary,")
    other = table(tmp_path / "other.parquet", IRIS, KINDS)
    assert refusal(model, other) == "other.parquet has 2 in column 'kind'; the model's classes are 0, 1."
    unnamed = saved(BINARY["m.lgb"]().fit(IRIS.to_numpy()[:, :2], IS_VIRGINICA), tmp_path / "m.lgb")
    assert refusal(unnamed, rows) == "rows.parquet has 4 columns beside the target; the model takes 2."


def test_other_answers_are_refused(tmp_path: Path, rows: Path) -> None:
    model = saved(BINARY["m.ubj"]().fit(IRIS, IS_VIRGINICA), tmp_path / "m.ubj")
    expected = save_rows(tmp_path / "answers.parquet", kind=np.full(len(IRIS), 0.5))
    with (
        pytest.raises(AnswersDiffer),
        imported("m", model, reference=rows, expected=expected, choices=choices_of(target="kind")),
    ):
        pass


# A process in which a library cannot be imported, as where its extra is not installed.
WITHOUT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
import sabia

try:
    sabia.import_model(
        sys.argv[2], name="m", store="memory://", reference=sys.argv[3], target="kind", run_code=True
    )
except sabia.SabiaError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("library", "file", "sentence"),
    [
        ("xgboost", "m.ubj", "m.ubj is of XGBoost's format; install sabia[xgboost]."),
        ("lightgbm", "m.lgb", "m.lgb is of LightGBM's format; install sabia[lightgbm]."),
        ("catboost", "m.cbm", "m.cbm is of CatBoost's format; install sabia[catboost]."),
        ("skops", "m.skops", "m.skops is of skops's format; install sabia[skops]."),
        (
            "lightgbm",
            "l.skops",
            "l.skops needs the module 'lightgbm', which is not installed here; install sabia[lightgbm].",
        ),
        ("mlflow", "folder", "folder needs the module 'mlflow', which is not installed here; install mlflow."),
    ],
)
def test_a_missing_library_is_one_sentence_that_says_what_to_install(
    tmp_path: Path, rows: Path, library: str, file: str, sentence: str
) -> None:
    model = tmp_path / file
    if file == "folder":
        model.mkdir()
        (model / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: own\n")
    else:
        estimator = BINARY["m.lgb" if file == "l.skops" else file]().fit(IRIS, IS_VIRGINICA)
        if file == "l.skops":
            skops.io.dump(estimator, model)
        else:
            saved(estimator, model)
    command = [sys.executable, "-c", WITHOUT, library, str(model), str(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{sentence}\n"
