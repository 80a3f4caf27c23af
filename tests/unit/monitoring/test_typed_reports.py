"""Reports on models of strings, nulls, classes and numbers: penguins, and the diabetes of scikit-learn."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from palmerpenguins import load_penguins
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from sabia.contract.manifest import Evaluation, Manifest
from sabia.contract.signature import Bins, Input, Output, Signature
from sabia.monitoring import labels, table
from sabia.monitoring.document import Report, Skew, VersionReport
from sabia.monitoring.page import to_html, to_json
from sabia.monitoring.quality import ClassQuality, ValueQuality
from sabia.monitoring.report import generate
from sabia.store.objects import Store
from tests.unit.monitoring.logs import NOON
from tests.unit.monitoring.typedlogs import Table, published, write_typed_log

DAY = date(2026, 3, 1)
SPECIES: list[str | int] = ["Adelie", "Chinstrap", "Gentoo"]
MEASURES = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
PENGUINS = Signature(
    inputs=[
        Input(name="island", dtype="string", categories=["Biscoe", "Dream", "Torgersen"]),
        Input(name="sex", dtype="string", categories=["female", "male"], nullable=True, fill=""),
        *(Input(name=name, dtype="float64", nullable=True, minimum=0.0, maximum=7000.0) for name in MEASURES),
        Input(name="year", dtype="int64", categories=[2007, 2008, 2009]),
        Input(name="photo", dtype="float32", shape=[None, 32, 32]),
        Input(name="ring", dtype="string", log="hash"),
    ],
    outputs=[
        Output(name="label", dtype="string", role="label", classes=SPECIES),
        Output(name="probabilities", dtype="float32", shape=[None, 3], role="class-probabilities", classes=SPECIES),
    ],
    primary="label",
    bins=Bins(kind="classes", classes=SPECIES),
)
CLASSES = Evaluation(
    task="multi-class",
    rows=100,
    values={"accuracy": 0.97, "macro_f1": 0.96, "log_loss": 0.1},
    parity_max_error=0.0,
)
ERRORS = Evaluation(task="regression", rows=100, values={"rmse": 55.0, "mae": 45.0, "r2": 0.5}, parity_max_error=0.0)


def report(store: Store, model: str) -> Report:
    """The report on the first day."""
    return generate(store, model, DAY, DAY)


def penguins(count: int | None = None, seed: int = 1) -> tuple[Table, list[str]]:
    """The penguins, or a sample of them: columns by name with None for a null, and the species."""
    frame = load_penguins()
    if count is not None:
        frame = frame.sample(count, replace=True, random_state=seed)
    values = frame.astype(object).where(frame.notna(), None)
    return {name: values[name].tolist() for name in ["island", "sex", *MEASURES, "year"]}, values["species"].tolist()


def by_flipper(rows: Table) -> list[str]:
    """A rule of two measures that is right for most penguins."""
    guess = []
    for flipper, bill in zip(rows["flipper_length_mm"], rows["bill_length_mm"], strict=True):
        guess.append("Gentoo" if (flipper or 0) > 206 else "Chinstrap" if (bill or 0) > 44 else "Adelie")
    return guess


def scored(guess: list[str]) -> Table:
    """The predictions' columns of these classes."""
    return {
        "predicted_class": list(guess),
        "scores": [[0.8 if name == each else 0.1 for name in SPECIES] for each in guess],
    }


def label_file(folder: Path, ids: list[str], truth: list[Any]) -> Path:
    """A file of labels for these requests."""
    path = folder / "labels.csv"
    path.write_text("request_id,label\n" + "".join(f"{a},{b}\n" for a, b in zip(ids, truth, strict=True)))
    return path


@pytest.fixture
def classifier(store: Store) -> Manifest:
    """A version that predicts the species."""
    rows, _ = penguins()
    return published(store, "penguins", PENGUINS, rows, by_flipper(rows), CLASSES)


def only(found: Report) -> VersionReport:
    """The report's only version."""
    (served,) = found.versions
    return served


def test_the_training_rows_themselves_have_not_drifted_at_all(store: Store, classifier: Manifest) -> None:
    rows, _ = penguins()
    write_typed_log(store, classifier, rows, scored(by_flipper(rows)))
    served = only(report(store, "penguins"))
    assert [each.counts for each in served.drift] == [each.expected for each in served.drift]
    assert {each.name for each in served.drift} == {"island", "sex", *MEASURES, "year", "prediction"}
    assert all(each.index == 0 and each.drifted is False for each in served.drift)


def test_new_categories_and_missing_values_drift_and_are_named(store: Store, classifier: Manifest) -> None:
    rows, _ = penguins(400)
    rows["island"] = ["Signy" if at % 3 == 0 else value for at, value in enumerate(rows["island"])]
    rows["sex"] = [None if at % 2 == 0 else value for at, value in enumerate(rows["sex"])]
    rows["body_mass_g"] = [None if at % 4 == 0 else value for at, value in enumerate(rows["body_mass_g"])]
    write_typed_log(store, classifier, rows, scored(by_flipper(rows)))
    served = only(report(store, "penguins"))
    assert set(served.drifted) == {"island", "sex", "body_mass_g"}
    changed = {each.name: each.changed for each in served.drift}
    assert (changed["island"], changed["sex"], changed["body_mass_g"]) == ("other", "missing", "missing")
    shares = {each.name: each for each in served.features}
    assert shares["island"].out_of_range == pytest.approx(1 / 3, abs=0.01)
    assert shares["sex"].missing == pytest.approx(0.5, abs=0.03)


def test_an_input_that_is_missing_in_every_row_drifts_and_a_redacted_one_has_no_verdict(
    store: Store, classifier: Manifest
) -> None:
    rows, _ = penguins(200)
    rows |= {"sex": [None] * 200, "body_mass_g": [None] * 200}
    write_typed_log(store, classifier, rows, scored(by_flipper(rows)), redacted=["sex"])
    served = only(report(store, "penguins"))
    assert "body_mass_g" in served.drifted
    assert "sex" not in served.drifted
    assert "Drift of sex is unknown: it is redacted in the log." in served.notes


def test_a_shift_of_the_values_that_are_present_is_drift(store: Store, classifier: Manifest) -> None:
    rows, _ = penguins(400)
    rows["bill_depth_mm"] = [None if value is None else value + 2 for value in rows["bill_depth_mm"]]
    write_typed_log(store, classifier, rows, scored(by_flipper(rows)))
    served = only(report(store, "penguins"))
    assert served.drifted == ["bill_depth_mm"]
    shifts = {each.name: each.shift for each in served.drift}
    assert shifts["bill_depth_mm"] is not None
    assert shifts["bill_depth_mm"] > 0.2
    assert shifts["island"] is None


def test_predicted_classes_drift_by_their_bins(store: Store, classifier: Manifest) -> None:
    rows, _ = penguins(400)
    write_typed_log(store, classifier, rows, scored(["Gentoo"] * 300 + ["Emperor"] * 100))
    served = only(report(store, "penguins"))
    assert served.drifted == ["prediction"]
    (prediction,) = (each for each in served.drift if each.name == "prediction")
    assert prediction.counts == [0, 0, 300, 100]


def test_what_cannot_be_watched_is_named_with_the_reason(store: Store, classifier: Manifest) -> None:
    rows, _ = penguins(60)
    write_typed_log(store, classifier, rows, scored(by_flipper(rows)))
    assert only(report(store, "penguins")).notes == [
        "Drift of photo is unknown: it is a tensor.",
        "Drift of ring is unknown: it is logged as a hash.",
        "Quality is unknown: no labels yet.",
        "Logged rows were not predicted again: not every input is in the log as it was.",
    ]


def test_labels_that_are_classes_give_the_metrics_of_classes(
    store: Store, classifier: Manifest, tmp_path: Path
) -> None:
    rows, truth = penguins()
    guess = by_flipper(rows)
    ids = write_typed_log(store, classifier, rows, scored(guess))
    labels.add(store, "penguins", label_file(tmp_path, ids, truth), now=NOON + timedelta(days=3))
    found = report(store, "penguins")
    quality = only(found).quality
    assert isinstance(quality, ClassQuality)
    right = np.array(guess) == np.array(truth)
    assert quality.accuracy.value == pytest.approx(right.mean())
    assert quality.log_loss is not None
    assert quality.log_loss.value == pytest.approx(-np.log(np.where(right, 0.8, 0.1)).mean(), rel=1e-6)
    assert quality.names == SPECIES
    assert np.trace(quality.confusion) == right.sum()
    assert only(found).days[0].scores["macro_f1"] == quality.macro_f1
    assert only(found).published["macro_f1"] == 0.96
    (cells,) = table.rows(found)
    assert cells[3] == f"accuracy {right.mean():.4g} of 344"


@pytest.fixture
def pipeline(store: Store) -> tuple[Manifest, Table, list[str]]:
    """A real pipeline of strings and numbers, the penguins without nulls, and what it predicts for them."""
    frame = load_penguins().dropna()[["island", "year", "bill_length_mm", "species"]]
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["island"]), remainder="passthrough")
    fitted = make_pipeline(encoder, DecisionTreeClassifier(max_depth=4, random_state=0))
    fitted.fit(frame.drop(columns="species"), frame["species"])
    types = [
        ("island", StringTensorType([None, 1])),
        ("year", Int64TensorType([None, 1])),
        ("bill_length_mm", FloatTensorType([None, 1])),
    ]
    model = convert_sklearn(fitted, initial_types=types, options={id(fitted): {"zipmap": False}}, target_opset=17)
    signature = Signature(
        inputs=[
            Input(name="island", dtype="string", categories=["Biscoe", "Dream", "Torgersen"]),
            Input(name="year", dtype="int64", minimum=2007, maximum=2009),
            Input(name="bill_length_mm", dtype="float32", minimum=32.0, maximum=60.0),
        ],
        outputs=PENGUINS.outputs,
        primary="label",
        bins=PENGUINS.bins,
    )
    rows: Table = {name: frame[name].tolist() for name in ["island", "year", "bill_length_mm"]}
    guess = fitted.predict(frame.drop(columns="species")).tolist()
    data: bytes = model.SerializeToString()
    manifest = published(store, "pipeline", signature, rows, guess, CLASSES, model=data, content='{"params": {}}')
    return manifest, rows, guess


def test_logged_rows_of_strings_and_numbers_are_predicted_again(
    store: Store, pipeline: tuple[Manifest, Table, list[str]]
) -> None:
    manifest, rows, guess = pipeline
    write_typed_log(store, manifest, rows, scored(guess))
    served = only(report(store, "pipeline"))
    assert served.skew == Skew(333, 0.0, 0)
    assert served.drifted == []


def test_predicted_classes_unlike_the_artifacts_are_counted(
    store: Store, pipeline: tuple[Manifest, Table, list[str]]
) -> None:
    manifest, rows, guess = pipeline
    write_typed_log(store, manifest, rows, scored(["Emperor"] * 7 + guess[7:]))
    found = report(store, "pipeline")
    assert only(found).skew == Skew(333, 1.0, 7)
    assert "7 of 333 served predictions differ from those of the published artifact" in to_html(found)


def diabetes() -> tuple[np.ndarray, np.ndarray, Ridge]:
    """Rows, target, and a regression fitted to them."""
    features, target = load_diabetes(return_X_y=True)
    return features, target, Ridge(alpha=0.1).fit(features, target)


def graph(ridge: Ridge) -> bytes:
    """The regression as ONNX."""
    width = len(ridge.coef_)
    weights = onnx.numpy_helper.from_array(ridge.coef_.reshape(width, 1), "weights")
    intercept = onnx.numpy_helper.from_array(np.array([ridge.intercept_]), "intercept")
    flat = onnx.numpy_helper.from_array(np.array([-1], dtype=np.int64), "flat")
    nodes = [
        onnx.helper.make_node("MatMul", ["features", "weights"], ["products"]),
        onnx.helper.make_node("Add", ["products", "intercept"], ["column"]),
        onnx.helper.make_node("Reshape", ["column", "flat"], ["prediction"]),
    ]
    double = onnx.TensorProto.DOUBLE
    body = onnx.helper.make_graph(
        nodes,
        "ridge",
        [onnx.helper.make_tensor_value_info("features", double, [None, width])],
        [onnx.helper.make_tensor_value_info("prediction", double, [None])],
        [weights, intercept, flat],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    model: bytes = onnx.helper.make_model(body, opset_imports=opsets, ir_version=8).SerializeToString()
    return model


@pytest.fixture
def regression(store: Store) -> Manifest:
    """A version that predicts the progress of diabetes, and a second one of other content."""
    features, _, ridge = diabetes()
    predictions = ridge.predict(features)
    columns = [f"x{at}" for at in range(features.shape[1])]
    signature = Signature(
        inputs=[Input(name=name, dtype="float64", minimum=-1.0, maximum=1.0) for name in columns],
        outputs=[Output(name="prediction", dtype="float64", role="value", unit="points")],
        primary="prediction",
        bins=Bins(kind="edges", edges=np.quantile(predictions, np.linspace(0, 1, 21)[1:-1]).tolist()),
    )
    rows = {name: features[:, at].tolist() for at, name in enumerate(columns)}
    for content in ('{"params": {}}', '{"params": {"second": 1}}'):
        manifest = published(
            store, "diabetes", signature, rows, predictions.tolist(), ERRORS, model=graph(ridge), content=content
        )
    return manifest


def write_predictions(store: Store, manifest: Manifest, predictions: np.ndarray, server: str = "a") -> list[str]:
    """Log the rows of the diabetes with these predictions."""
    features, _, _ = diabetes()
    rows: Table = {each.name: features[:, at].tolist() for at, each in enumerate(manifest.inputs)}
    return write_typed_log(store, manifest, rows, {"prediction": predictions.tolist()}, server=server)


def test_labels_that_are_numbers_give_the_errors_of_a_regression(
    store: Store, regression: Manifest, tmp_path: Path
) -> None:
    features, target, ridge = diabetes()
    predictions = ridge.predict(features)
    ids = write_predictions(store, regression, predictions)
    labels.add(store, "diabetes", label_file(tmp_path, ids, target.tolist()), now=NOON + timedelta(days=3))
    found = report(store, "diabetes")
    served = only(found)
    assert isinstance(served.quality, ValueQuality)
    assert served.quality.rmse.value == pytest.approx(np.sqrt(np.mean((target - predictions) ** 2)))
    assert served.quality.mae.value == pytest.approx(np.mean(np.abs(target - predictions)))
    assert served.quality.r2 is not None
    assert served.quality.r2.value == pytest.approx(ridge.score(features, target))
    assert served.drifted == []
    assert served.skew is not None
    assert served.skew.largest_difference < 1e-9
    assert served.notes == []
    assert list(served.days[0].scores) == ["rmse", "mae", "r2"]


def test_two_regressions_are_compared_by_their_errors_and_never_by_accuracy(
    store: Store, regression: Manifest, tmp_path: Path
) -> None:
    features, target, ridge = diabetes()
    worse = ridge.predict(features) + 100
    first = msgspec.structs.replace(regression, version="1.0")
    ids = write_predictions(store, first, ridge.predict(features))
    ids += write_predictions(store, regression, worse, server="b")
    labels.add(store, "diabetes", label_file(tmp_path, ids, [*target.tolist()] * 2), now=NOON + timedelta(days=3))
    found = report(store, "diabetes")
    (compared,) = found.comparisons
    assert (compared.accuracy, compared.agreement, compared.note) == (None, None, "")
    assert compared.error is not None
    expected = np.abs(target - worse).mean() - np.abs(target - ridge.predict(features)).mean()
    assert compared.error.value == pytest.approx(expected)
    assert compared.error.low > 0
    assert "accuracy" not in to_html(found)


def test_labels_of_another_kind_are_counted_and_explained(store: Store, regression: Manifest, tmp_path: Path) -> None:
    _, target, _ = diabetes()
    ids = write_predictions(store, regression, target)
    frame = label_file(tmp_path, ids, ["low"] * len(ids))
    # Another model's rule read this file.
    rows, _ = penguins()
    published(store, "other", PENGUINS, rows, by_flipper(rows), CLASSES)
    labels.add(store, "other", frame, now=NOON + timedelta(days=3))
    for entry in list(store.list("labels/")):
        store.create(entry.key.replace("model=other", "model=diabetes"), store.get(entry.key))
    assert only(report(store, "diabetes")).notes == ["Quality is unknown: 442 labels are not numbers."]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["penguins", "diabetes"])
def test_the_page_and_the_document_show_every_kind_of_quality(
    store: Store, classifier: Manifest, regression: Manifest, tmp_path: Path, model: str
) -> None:
    rows, truth = penguins()
    features, target, ridge = diabetes()
    if model == "penguins":
        ids = write_typed_log(store, classifier, rows, scored(by_flipper(rows)))
        labels.add(store, model, label_file(tmp_path, ids, truth), now=NOON)
        shown = ["Confusion matrix of 1.0", "predicted Chinstrap", "macro F1", "is a tensor"]
    else:
        ids = write_predictions(store, regression, ridge.predict(features))
        labels.add(store, model, label_file(tmp_path, ids, target.tolist()), now=NOON)
        shown = ["Residuals by prediction", "RMSE", "points", "Quality: rmse 53"]
    found = report(store, model)
    page = to_html(found)
    for text in shown:
        assert text in page
    assert msgspec.json.decode(to_json(found), type=Report) == found


def embedding(length: int | None, *inputs: Input) -> Signature:
    """A model of vectors, which are counted by their norm."""
    return Signature(
        inputs=list(inputs),
        outputs=[Output(name="embedding", dtype="float32", shape=[None, length], role="vector")],
        primary="embedding",
        bins=Bins(kind="edges", edges=[1.0, 2.0, 3.0]),
    )


CUSTOM = Evaluation(task="custom", rows=100, values={}, parity_max_error=None)


def test_vectors_drift_by_their_norm(store: Store) -> None:
    signature = embedding(2, Input(name="size", dtype="float64", minimum=0.0, maximum=1.0))
    rows: Table = {"size": np.linspace(0, 1, 400).tolist()}
    vectors = np.column_stack([np.linspace(0, 4, 400), np.zeros(400)])
    manifest = published(store, "vectors", signature, rows, vectors.tolist(), CUSTOM)
    write_typed_log(store, manifest, rows, {"scores": vectors.tolist()})
    same = only(report(store, "vectors"))
    (prediction,) = (each for each in same.drift if each.name == "prediction")
    assert (prediction.counts, prediction.drifted) == (prediction.expected, False)
    write_typed_log(store, manifest, rows, {"scores": (vectors + 2).tolist()})
    assert only(report(store, "vectors")).drifted == ["prediction"]
    assert same.notes[0] == "Quality is unknown: the primary output is a vector, and a label is a class or a number."


def test_texts_and_hashes_have_no_bins_and_the_report_says_so(store: Store) -> None:
    signature = embedding(None, Input(name="text", dtype="string"), Input(name="scan", dtype="bytes"))
    rows: Table = {"text": ["good", "bad"] * 30, "scan": ["0a" * 32, "ff" * 32] * 30}
    manifest = published(store, "texts", signature, rows, [[1.0, 1.0]] * 60, CUSTOM)
    write_typed_log(store, manifest, rows, {"prediction_digest": ["0f" * 32] * 60})
    served = only(report(store, "texts"))
    assert (served.rows, served.drift, served.features) == (60, [], [])
    assert served.notes[:2] == [
        "Drift of text is unknown: it is text without categories.",
        "Drift of scan, prediction is unknown: each is logged as a hash.",
    ]


def test_texts_that_are_missing_more_often_have_drifted(store: Store) -> None:
    signature = embedding(2, Input(name="text", dtype="string", nullable=True, fill=""))
    trained: Table = {"text": ["good", "bad", None, "fine"] * 50}
    manifest = published(store, "texts", signature, trained, [[1.0, 1.0]] * 200, CUSTOM)
    write_typed_log(store, manifest, trained, {"scores": [[1.0, 1.0]] * 200})
    same = only(report(store, "texts"))
    assert (same.drifted, [each.missing for each in same.features]) == ([], [0.25])
    write_typed_log(store, manifest, {"text": [None] * 200}, {"scores": [[1.0, 1.0]] * 200})
    served = only(report(store, "texts"))
    assert (served.drifted, [each.missing for each in served.features]) == (["text"], [0.625])
