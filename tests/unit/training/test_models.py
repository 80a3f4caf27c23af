from __future__ import annotations

import numpy as np
import pytest

from sabia.training.datasets import Split, load, split
from sabia.training.errors import InvalidHyperParams, UnknownDataset, UnknownMethods
from sabia.training.models import METHODS, Model, model_of

SMALL = {"random-forest": {"n_estimators": 20, "random_state": 1}, "histogram-boosting": {"max_iter": 20}}


@pytest.fixture(scope="session")
def parts() -> Split:
    """The breast-cancer rows, split."""
    return split(load("sklearn:breast_cancer"), held_out=0.25, seed=20)


def trained(methods: str, parts: Split) -> Model:
    """A model of these methods, quickly trained."""
    rows = parts.training
    return model_of(methods).train(rows.target, rows.features, SMALL.get(methods, {}))


@pytest.mark.parametrize("methods", METHODS)
def test_a_model_is_state_and_methods(methods: str, parts: Split) -> None:
    model = trained(methods, parts)
    assert model.params
    assert model.hyper_params == SMALL.get(methods, {})


@pytest.mark.slow
@pytest.mark.parametrize("methods", METHODS)
def test_every_model_answers_a_probability(methods: str, parts: Split) -> None:
    prediction = trained(methods, parts).predict(parts.held_out.features * 3)
    assert prediction.shape == (parts.held_out.rows,)
    assert prediction.dtype == np.float64
    assert ((prediction >= 0) & (prediction <= 1)).all()


@pytest.mark.parametrize(("methods", "link"), [("linear-regression", "clip"), ("logistic-regression", "logistic")])
def test_the_params_of_a_linear_model_are_the_whole_model(methods: str, link: str, parts: Split) -> None:
    model = trained(methods, parts)
    params = model.params
    rows = (parts.held_out.features - params["means"]) / params["scales"]
    score = rows @ np.array(params["coefficients"]) + params["intercept"]
    expected = np.clip(score, 0, 1) if link == "clip" else 1 / (1 + np.exp(-score))
    np.testing.assert_allclose(model.predict(parts.held_out.features), expected, atol=1e-12)


def test_a_hyper_parameter_that_the_estimator_does_not_take_is_refused(parts: Split) -> None:
    rows = parts.training
    with pytest.raises(InvalidHyperParams, match="linear-regression"):
        model_of("linear-regression").train(rows.target, rows.features, {"depth": 3})


def test_unknown_methods_and_data_sets_are_named_with_those_that_are_known() -> None:
    with pytest.raises(UnknownMethods, match="known: histogram-boosting"):
        model_of("astrology")
    with pytest.raises(UnknownDataset, match="known: sklearn"):
        load("nowhere:nothing")


def test_no_held_out_row_is_trained_on(parts: Split) -> None:
    rows = {row.tobytes() for row in parts.training.features}
    assert not any(row.tobytes() in rows for row in parts.held_out.features)
    assert parts.training.rows + parts.held_out.rows == load("sklearn:breast_cancer").rows


def test_the_digest_of_a_data_set_changes_with_its_rows(parts: Split) -> None:
    assert parts.training.sha256 == parts.training.part(1.0).sha256
    assert parts.training.sha256 != parts.training.part(0.5).sha256
