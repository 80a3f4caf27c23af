"""Explanations of trees: the exact Shapley values of each input, for every library and pipeline, over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import sys
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import jsonschema
import numpy as np
import palmerpenguins
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

from sabia.contract import reference as references
from sabia.contract.reference import Histogram, Reference
from sabia.contract.signature import Bins, Input, Output, Signature
from sabia.publishing.drafting import draft
from sabia.registry.claim import provisional
from sabia.registry.verification import Artifact
from sabia.serving.explanations import background
from sabia.serving.explanations.trees import EQUAL, LESS, LESS_OR_EQUAL, MEMBER, Trees, shapley
from sabia.serving.settings import Settings
from tests.unit.serving.clients import JSON, Client, Wire
from tests.unit.serving.test_v1 import error

Frame = Any  # pandas has no types here
Floats = NDArray[np.float64]
PATH = "/v1/models/toy:explain"
# Sums of float64 leaves are exact; scikit-learn's forests, XGBoost and CatBoost keep leaves in float32.
EXACT, SINGLE = 1e-9, 2e-5

RANDOM = np.random.default_rng(0)
NUMBERS = pd.DataFrame(
    {
        "a": RANDOM.normal(size=300),
        "b": RANDOM.normal(size=300),
        "c": RANDOM.integers(0, 4, 300).astype(np.float64),
        "unused": np.zeros(300),
    }
)
VALUE = (NUMBERS.a * NUMBERS.b + NUMBERS.c).rename("value")
FLAG = (VALUE > 1).astype(int)
CLASS = pd.Series(np.where(VALUE > 2, "high", np.where(VALUE > 0.5, "middle", "low")), name="class")
FLAGS = pd.DataFrame({"count": NUMBERS.c.astype(int), "large": NUMBERS.a > 0, "day": RANDOM.integers(0, 365, 300)})
FLAGS["colour"] = np.where(NUMBERS.b > 0, "red", "green")
PENGUINS = palmerpenguins.load_penguins()
SPECIES = PENGUINS.species
BIRDS = PENGUINS[["island", "sex", "bill_length_mm", "body_mass_g"]]
CATEGORIES = BIRDS.astype({"island": "category", "sex": "category"})
FEW = {"n_estimators": 6}


def published(estimator: Any, inputs: Frame, target: Any) -> Artifact:
    """A version of a fitted estimator."""
    made = draft(estimator, inputs, target, name="toy")
    return Artifact(provisional(made), {name: bytes(data) for name, data in made.files.items()})


def explained(client: Client, instances: Any) -> list[dict[str, Any]]:
    """The explanations of some rows."""
    response = client("POST", PATH, json.dumps({"instances": instances}).encode(), JSON)
    assert response.status_code == 200, response.text
    return list(response.json()["explanations"])


def reason(client: Client, instances: Any) -> str:
    """The sentence of a 405."""
    response = client("POST", PATH, json.dumps({"instances": instances}).encode(), JSON)
    assert response.status_code == 405, response.text
    return error(response)


def plain(frame: Frame) -> list[dict[str, Any]]:
    """Rows as JSON takes them."""
    return [
        {key: None if pd.isna(value) else value for key, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]


def background_of(artifact: Artifact, like: Frame) -> Frame:
    """The background rows of a version, as a table of the dtypes that its estimator was trained on."""
    reference = references.decode(artifact.files["reference.json"])
    batch = background.draw(artifact.manifest.signature, reference)
    inputs = {each.name: each for each in artifact.manifest.signature.inputs}
    columns = {}
    for name, column in batch.columns.items():
        values = column.astype(object)
        values[batch.missing(inputs[name])] = np.nan  # as the table has them: scikit-learn tells None from NaN
        columns[name] = values
    return pd.DataFrame(columns).astype(dict(like.dtypes))


def brute_force(margin: Callable[[Frame], Floats], row: Frame, others: Frame) -> tuple[Floats, float]:
    """The Shapley values of each column by all coalitions, and the mean margin of the other rows."""
    names = list(row.columns)
    coalitions = [frozenset(part) for size in range(len(names) + 1) for part in itertools.combinations(names, size)]
    repeated = row.loc[row.index.repeat(len(others))].reset_index(drop=True)
    mixed = [
        pd.DataFrame({name: (repeated if name in coalition else others)[name] for name in names})
        for coalition in coalitions
    ]
    margins = margin(pd.concat(mixed, ignore_index=True)).reshape(len(coalitions), len(others)).mean(axis=1)
    worth = dict(zip(coalitions, margins.tolist(), strict=True))
    count = len(names)
    found = [
        sum(
            (worth[part | {name}] - worth[part]) / (count * math.comb(count - 1, len(part)))
            for part in coalitions
            if name not in part
        )
        for name in names
    ]
    return np.array(found), worth[frozenset()]


@dataclass
class Kind:
    """An estimator, its rows, what its score is, and how the library itself computes that score."""

    estimator: Any
    inputs: Frame
    target: Any
    scale: str
    margin: Callable[[Any, Frame], Any]
    within: float = SINGLE


def _predict(estimator: Any, rows: Frame) -> Any:
    return estimator.predict(rows)


def _probabilities(estimator: Any, rows: Frame) -> Any:
    return estimator.predict_proba(rows)


def _decision(estimator: Any, rows: Frame) -> Any:
    return estimator.decision_function(rows)


def _encoded() -> Any:
    strings = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((strings, ["island", "sex"]), remainder=SimpleImputer(add_indicator=True))


def _ordinal() -> Any:
    strings = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_column_transformer((strings, ["island", "sex"]), remainder="passthrough")


KINDS = {
    "tree": Kind(DecisionTreeClassifier(max_depth=4), NUMBERS, FLAG, "probability", _probabilities),
    "tree of values": Kind(DecisionTreeRegressor(max_depth=4), NUMBERS, VALUE, "value", _predict),
    "tree of classes": Kind(DecisionTreeClassifier(max_depth=4), NUMBERS, CLASS, "probability", _probabilities),
    "forest": Kind(RandomForestClassifier(**FEW), NUMBERS, FLAG, "probability", _probabilities),
    "forest of classes": Kind(RandomForestClassifier(**FEW), NUMBERS, CLASS, "probability", _probabilities),
    "forest of values": Kind(RandomForestRegressor(**FEW), NUMBERS, VALUE, "value", _predict),
    "extra trees": Kind(ExtraTreesRegressor(**FEW), NUMBERS, VALUE, "value", _predict),
    "boosting": Kind(GradientBoostingClassifier(**FEW), NUMBERS, FLAG, "log-odds", _decision),
    "boosting of classes": Kind(GradientBoostingClassifier(**FEW), NUMBERS, CLASS, "margin", _decision),
    "boosting of values": Kind(GradientBoostingRegressor(**FEW), NUMBERS, VALUE, "value", _predict),
    "histograms": Kind(HistGradientBoostingClassifier(max_iter=6), NUMBERS, FLAG, "log-odds", _decision, within=EXACT),
    "histograms of classes": Kind(
        HistGradientBoostingClassifier(max_iter=6), NUMBERS, CLASS, "margin", _decision, within=EXACT
    ),
    "histograms of counts": Kind(
        HistGradientBoostingRegressor(max_iter=6, loss="poisson"),
        NUMBERS[["a", "b"]],
        NUMBERS.c,
        "log",
        lambda estimator, rows: np.log(estimator.predict(rows)),
        within=EXACT,
    ),
    "histograms of categories": Kind(
        HistGradientBoostingClassifier(max_iter=6, categorical_features="from_dtype"),
        CATEGORIES,
        SPECIES,
        "margin",
        _decision,
        within=EXACT,
    ),
    "whole numbers and flags": Kind(
        make_pipeline(
            make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough"),
            RandomForestRegressor(**FEW),
        ),
        FLAGS,
        VALUE,
        "value",
        _predict,
    ),
    "scaled": Kind(
        make_pipeline(StandardScaler(), GradientBoostingRegressor(**FEW)), NUMBERS, VALUE, "value", _predict
    ),
    "intervals": Kind(
        make_pipeline(
            KBinsDiscretizer(4, encode="ordinal", quantile_method="averaged_inverted_cdf"),
            RandomForestRegressor(**FEW),
        ),
        NUMBERS[["a", "b"]],
        VALUE,
        "value",
        _predict,
    ),
    "one-hot": Kind(
        make_pipeline(_encoded(), RandomForestClassifier(**FEW)), BIRDS, SPECIES, "probability", _probabilities
    ),
    "one-hot of values": Kind(
        make_pipeline(_encoded(), GradientBoostingRegressor(**FEW)), BIRDS, PENGUINS.year, "value", _predict
    ),
    "ordinal": Kind(
        make_pipeline(_ordinal(), HistGradientBoostingClassifier(max_iter=6)),
        BIRDS,
        SPECIES,
        "margin",
        _decision,
        within=EXACT,
    ),
}


def check(kind: Kind) -> None:
    """Check the contributions of some rows against all coalitions of the estimator's own margins."""
    # Threads that wait for each other take longer than these few rows.
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        kind.estimator.fit(kind.inputs, kind.target)
        artifact = published(kind.estimator, kind.inputs, kind.target)
        client = Client(artifact)
        rows = kind.inputs.iloc[[3, 150]]
        others = background_of(artifact, kind.inputs)
        predictions = client("POST", "/v1/models/toy:predict", _body(rows), JSON).json()["predictions"]
        found = explained(client, plain(rows))
        for at, (explanation, prediction) in enumerate(zip(found, predictions, strict=True)):
            assert explanation["prediction"] == prediction
            assert explanation["scale"] == kind.scale
            contributions = explanation["contributions"]
            assert list(contributions) == list(kind.inputs.columns)
            total = explanation["intercept"] + sum(contributions.values())
            assert total == pytest.approx(explanation["score"], rel=1e-12, abs=1e-12)
            margin = _margin_of(kind, explanation.get("class"))
            expected, mean = brute_force(margin, rows.iloc[[at]], others)
            assert explanation["intercept"] == pytest.approx(mean, rel=kind.within, abs=kind.within)
            assert explanation["score"] == pytest.approx(margin(rows.iloc[[at]]).item(), rel=kind.within)
            np.testing.assert_allclose(list(contributions.values()), expected, rtol=kind.within, atol=kind.within)


def _body(rows: Frame) -> bytes:
    return json.dumps({"instances": plain(rows)}).encode()


def _margin_of(kind: Kind, label: Any) -> Callable[[Frame], Floats]:
    """The margin of one class: of `label`, else of the last."""

    def margin(rows: Frame) -> Floats:
        values = np.asarray(kind.margin(kind.estimator, rows), dtype=np.float64)
        if values.ndim == 1:
            return values
        return values[:, list(kind.estimator.classes_).index(label) if label is not None else -1]

    return margin


@pytest.mark.parametrize("name", KINDS)
def test_contributions_are_the_shapley_values_of_the_estimators_own_margin(name: str) -> None:
    check(KINDS[name])


def _boosters() -> dict[str, Kind]:
    import catboost
    import lightgbm
    import xgboost

    codes = SPECIES.astype("category").cat.codes
    quiet = {"verbose": False, "allow_writing_files": False}

    def raw(estimator: Any, rows: Frame) -> Any:
        return estimator.predict(rows, output_margin=True)

    def raw_score(estimator: Any, rows: Frame) -> Any:
        return estimator.predict(rows, raw_score=True)

    def formula(estimator: Any, rows: Frame) -> Any:
        return estimator.predict(rows, prediction_type="RawFormulaVal")

    light = {"n_estimators": 6, "verbose": -1, "min_child_samples": 5}
    return {
        "XGBoost": Kind(xgboost.XGBClassifier(**FEW), NUMBERS, FLAG, "log-odds", raw),
        "XGBoost of values": Kind(xgboost.XGBRegressor(**FEW), NUMBERS, VALUE, "value", _predict),
        "XGBoost of categories": Kind(
            xgboost.XGBClassifier(enable_categorical=True, **FEW), CATEGORIES, codes, "margin", raw
        ),
        "LightGBM": Kind(lightgbm.LGBMClassifier(**light), NUMBERS, FLAG, "log-odds", raw_score, within=EXACT),
        "LightGBM of values": Kind(lightgbm.LGBMRegressor(**light), NUMBERS, VALUE, "value", _predict, within=EXACT),
        "LightGBM of categories": Kind(
            lightgbm.LGBMClassifier(**light), CATEGORIES, SPECIES, "margin", raw_score, within=EXACT
        ),
        "CatBoost": Kind(catboost.CatBoostClassifier(iterations=6, **quiet), NUMBERS, FLAG, "log-odds", formula),
        "CatBoost of classes": Kind(
            catboost.CatBoostClassifier(iterations=6, **quiet), NUMBERS, CLASS, "margin", formula
        ),
        "CatBoost of values": Kind(
            catboost.CatBoostRegressor(iterations=6, **quiet), NUMBERS, VALUE, "value", _predict
        ),
    }


@pytest.mark.slow
def test_boosted_trees_of_other_libraries_are_explained_as_exactly() -> None:
    for kind in _boosters().values():
        check(kind)


@pytest.mark.slow
def test_a_tree_of_more_nodes_than_16_bits_count_is_explained_as_exactly() -> None:
    inputs = pd.DataFrame(RANDOM.normal(size=(20_000, 3)), columns=["a", "b", "c"])
    noise = pd.Series(RANDOM.normal(size=20_000), name="noise")
    kind = Kind(DecisionTreeRegressor(), inputs, noise, "value", _predict)
    check(kind)
    assert kind.estimator.tree_.node_count > 2**15


@pytest.mark.slow
def test_shap_gives_the_same_contributions() -> None:
    shap = pytest.importorskip("shap", reason="shap is in the test group for Python 3.12 and later only")
    estimator = GradientBoostingClassifier(n_estimators=20).fit(NUMBERS, FLAG)
    artifact = published(estimator, NUMBERS, FLAG)
    rows, others = NUMBERS.iloc[:5], background_of(artifact, NUMBERS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        explainer = shap.TreeExplainer(estimator, data=others, feature_perturbation="interventional")
        expected = explainer.shap_values(rows)
    found = explained(Client(artifact), plain(rows))
    contributions = np.array([list(each["contributions"].values()) for each in found])
    np.testing.assert_allclose(contributions, expected, atol=1e-5)  # its own arithmetic is float32


@st.composite
def forests(draw: st.DrawFn) -> tuple[Trees, Floats, NDArray[np.int64], int]:
    """Random trees, rows of their columns, and the player that decides each column."""
    columns, players = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    by_column = random.integers(0, players, columns)
    true: list[int] = []
    false: list[int] = []

    def grow(depth: int) -> int:
        at = len(true)
        true.append(-1)
        false.append(-1)
        if depth and random.random() < 0.85:
            true[at], false[at] = grow(depth - 1), grow(depth - 1)
        return at

    roots = [grow(draw(st.integers(0, 5))) for _ in range(draw(st.integers(1, 3)))]
    count = len(true)
    column = random.integers(0, columns, count)
    targets = draw(st.integers(1, 3))
    trees = Trees(
        roots=np.array(roots),
        true=np.array(true),
        false=np.array(false),
        column=column,
        mode=random.choice([LESS_OR_EQUAL, LESS, EQUAL, MEMBER], count),
        split=random.integers(0, 4, count).astype(np.float64),
        missing_true=random.random(count) < 0.5,
        values=random.normal(size=(count, targets)),
        offset=random.normal(size=targets),
        known=np.arange(4.0),
        sets=np.column_stack([random.random((count, 4)) < 0.5, np.zeros(count, bool)]),
        set_of=np.arange(count),
    )
    rows = random.integers(0, 5, (draw(st.integers(2, 6)), columns)).astype(np.float64)
    rows[random.random(rows.shape) < 0.2] = np.nan
    return trees, rows, by_column, players


@given(forests())
def test_shapley_values_are_those_of_all_coalitions_of_players(
    made: tuple[Trees, Floats, NDArray[np.int64], int],
) -> None:
    trees, rows, by_column, players = made
    row, others = rows[0], rows[1:]
    decisions = trees.decisions(others)
    found = shapley(
        trees, trees.decisions(rows[:1])[0], decisions, by_column[trees.column], players, check=lambda: None
    )
    worth = {}
    for coalition in itertools.product((False, True), repeat=players):
        joined = np.where(np.array(coalition)[by_column], row, others)
        worth[coalition] = trees.sums(trees.decisions(joined)).mean(axis=0)
    for player in range(players):
        expected = np.zeros(found.shape[1])
        for coalition, value in worth.items():
            if not coalition[player]:
                joined_by = tuple(each or at == player for at, each in enumerate(coalition))
                expected += (worth[joined_by] - value) / (players * math.comb(players - 1, sum(coalition)))
        np.testing.assert_allclose(found[player], expected, atol=1e-12)


REFUSED: dict[str, tuple[Any, Frame, Any, str]] = {
    "projection": (make_pipeline(PCA(2), DecisionTreeRegressor(max_depth=3)), NUMBERS, VALUE, "of several inputs"),
    "several ensembles": (AdaBoostClassifier(n_estimators=2), NUMBERS, FLAG, "2 ensembles of trees"),
    "calibrated": (
        CalibratedClassifierCV(DecisionTreeClassifier(max_depth=3), ensemble=False, cv=2),
        NUMBERS,
        FLAG,
        "not a sum of its trees",
    ),
    "text": (
        make_pipeline(make_column_transformer((TfidfVectorizer(), "text")), DecisionTreeClassifier(max_depth=2)),
        pd.DataFrame({"text": [f"word{at % 7} and {at}" for at in range(300)]}),
        FLAG,
        'no values of input "text"',
    ),
    "neither": (make_pipeline(_encoded(), LogisticRegression()), BIRDS, SPECIES, "neither linear nor made of trees"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_explained_truly_is_a_405_with_the_reason(name: str) -> None:
    estimator, inputs, target, expected = REFUSED[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = Client(published(estimator.fit(inputs, target), inputs, target))
    instances = plain(inputs.iloc[:1])
    assert expected in reason(client, instances)
    assert reason(client, instances) == reason(client, instances)
    assert client("POST", "/v1/models/toy:predict", _body(inputs.iloc[:1]), JSON).status_code == 200


@pytest.fixture(scope="module")
def boosting() -> Artifact:
    """A version of boosted trees."""
    return published(HistGradientBoostingClassifier(max_iter=6).fit(NUMBERS, FLAG), NUMBERS, FLAG)


@pytest.fixture(scope="module")
def birds() -> Artifact:
    """A version with strings and nulls, of several classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = make_pipeline(_ordinal(), HistGradientBoostingClassifier(max_iter=6)).fit(BIRDS, SPECIES)
        return published(estimator, BIRDS, SPECIES)


def test_without_the_library_that_reads_graphs_the_response_names_the_extra(
    boosting: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)  # as where it is not installed
    assert "install sabia[explanations]" in reason(Client(boosting), plain(NUMBERS.iloc[:1]))


def test_more_rows_than_are_explained_at_once_are_a_400(boosting: Artifact, birds: Artifact) -> None:
    for artifact, inputs in ((boosting, NUMBERS), (birds, BIRDS)):
        client = Client(artifact)
        assert len(explained(client, plain(inputs.iloc[:100]))) == 100
        response = client("POST", PATH, _body(inputs.iloc[:101]), JSON)
        assert response.status_code == 400
        assert error(response) == "The body has 101 rows; at most 100 are explained in one request."


def test_rows_that_are_not_predicted_are_not_explained(boosting: Artifact) -> None:
    response = Client(boosting)("POST", PATH, b'{"instances": [[1, 2]]}', JSON)
    assert response.status_code == 400
    assert error(response) == "instances[0] has 2 values; the model takes 4."


def test_nulls_and_unknown_categories_are_explained(birds: Artifact) -> None:
    client = Client(birds)
    rows = [{"island": "Atlantis", "bill_length_mm": None, "body_mass_g": 4000.0, "sex": None}, {"island": "Dream"}]
    for explanation in explained(client, rows):
        total = explanation["intercept"] + sum(explanation["contributions"].values())
        assert total == pytest.approx(explanation["score"])
        assert explanation["class"] == explanation["prediction"]["label"]


def test_explanations_are_counted_as_requests_and_their_time_as_a_stage(boosting: Artifact) -> None:
    client = Client(boosting)
    explained(client, plain(NUMBERS.iloc[:3]))
    assert client.value("sabia_requests_total", status_class="2xx") == 1
    page = client("GET", "/metrics").text
    lines = [line for line in page.splitlines() if line.startswith("request_explain")]
    stages = {line.split("{")[0]: float(line.split()[-1]) for line in lines}
    assert stages["request_explain_seconds_count"] == 1
    assert stages["request_explain_seconds_sum"] > 0


def test_explanations_fit_the_openapi_document(boosting: Artifact, birds: Artifact) -> None:
    for artifact, inputs in ((boosting, NUMBERS), (birds, BIRDS)):
        client = Client(artifact)
        document = client("GET", "/v1/openapi.json").json()
        schema = {"$ref": "#/components/schemas/Explanations", "components": document["components"]}
        validator = jsonschema.Draft202012Validator(schema)
        found = {"explanations": explained(client, plain(inputs.iloc[:3]))}
        assert [each.message for each in validator.iter_errors(found)] == []
        found["explanations"][0]["contributions"] = {"other": 1}
        assert list(validator.iter_errors(found))


def test_health_is_answered_while_trees_are_explained(boosting: Artifact) -> None:
    async def call(connect: Callable[[], Awaitable[Wire]]) -> bool:
        explaining, asking = await connect(), await connect()
        explaining.writer.write(_post(_body(NUMBERS.iloc[:100])))
        answered = asyncio.ensure_future(explaining.response())
        asking.writer.write(b"GET /v1/models/toy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asking.response()).status_code == 200
        early = not answered.done()
        assert (await answered).status_code == 200
        return early

    assert Client(boosting).served(call)


def test_an_explanation_past_its_deadline_is_a_504_and_ends(boosting: Artifact) -> None:
    client = Client(boosting, Settings(request_timeout_seconds=0.001, threads=1))

    async def call(connect: Callable[[], Awaitable[Wire]]) -> httpx.Response:
        wire = await connect()
        wire.writer.write(_post(_body(NUMBERS.iloc[:100])))
        return await wire.response()

    assert client.served(call).status_code == 504


def _post(body: bytes) -> bytes:
    return f"POST {PATH} HTTP/1.1\r\nHost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def signature(*inputs: Input) -> Signature:
    """A signature of these inputs."""
    output = Output(name="prediction", dtype="float64", role="value")
    return Signature(inputs=list(inputs), outputs=[output], primary="prediction", bins=Bins(kind="none"))


def reference(**features: Histogram) -> Reference:
    """A reference of these histograms."""
    return references.build(100, features, Histogram([], [100]))


def test_background_rows_have_the_distribution_of_each_input() -> None:
    values = RANDOM.normal(size=1000)
    edges = np.quantile(values, np.linspace(0, 1, 11)[1:-1])
    continuous = Histogram(edges.tolist(), [100] * 10)
    rare = Histogram([0.0], [0, 1000])  # 950 zeros and 50 ones: each decile is 0
    colours = Histogram([], [50, 30, 0], categories=["red", "green"], missing=20)
    inputs = signature(
        Input(name="x", dtype="float64", minimum=float(values.min()), maximum=float(values.max())),
        Input(name="rare", dtype="int64", minimum=0, maximum=1),
        Input(name="colour", dtype="string", nullable=True, fill="?", categories=["red", "green"]),
    )
    given_reference = reference(x=continuous, rare=rare, colour=colours)
    rows = background.draw(inputs, given_reference)
    np.testing.assert_allclose(np.quantile(rows.columns["x"], np.arange(1, 10) / 10), edges, atol=0.05)
    assert rows.columns["rare"].sum() == 5
    colour = rows.columns["colour"].tolist()
    assert {name: colour.count(name) for name in set(colour)} == {"red": 50, "green": 30, "?": 20}
    again = background.draw(inputs, given_reference)
    assert all((rows.columns[name] == again.columns[name]).all() for name in rows.columns)
