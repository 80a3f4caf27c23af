from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sabia.registry.verification import Artifact
from sabia.serving.errors import InvalidInput
from sabia.serving.inference.model import FAST_PATH_TOLERANCE, Model, clipped
from sabia.serving.inference.model import logistic as logistic_link
from tests.unit.serving.test_loading import changed

Rows = NDArray[np.float64]


@pytest.mark.parametrize("name", ["linear", "logistic"])
def test_the_linear_fast_path_predicts_what_the_session_predicts(
    name: str, request: pytest.FixtureRequest, rows: Rows
) -> None:
    model = Model(request.getfixturevalue(name))
    together = model.predict(rows)
    alone = [model.predict_row(row) for row in rows.tolist()]
    assert alone == pytest.approx(together.tolist(), abs=FAST_PATH_TOLERANCE)


@pytest.mark.slow
@given(st.lists(st.floats(-1e4, 1e4), min_size=30, max_size=30))
def test_a_row_alone_gets_one_prediction_on_every_path(logistic: Artifact, row: list[float]) -> None:
    model = Model(logistic)
    assert model.predict(np.array([row])).tolist() == [model.predict_row(row)]


def test_a_state_that_contradicts_the_session_makes_no_fast_path(logistic: Artifact, rows: Rows) -> None:
    """The session is the model; the state is only a faster path to the same predictions, and here they differ."""
    state = json.loads(logistic.files["state.json"])
    state["params"]["intercept"] += 1e-9
    other = Model(changed(logistic, state_json=json.dumps(state).encode()))
    expected = Model(logistic).predict(rows[:5]).tolist()
    assert other.predict(rows[:5]).tolist() == pytest.approx(expected, rel=0, abs=FAST_PATH_TOLERANCE)
    alone = [other.predict_row(row) for row in rows[:5].tolist()]
    assert alone == pytest.approx(expected, rel=0, abs=FAST_PATH_TOLERANCE)


@pytest.mark.parametrize("name", ["logistic", "forest"])
@pytest.mark.parametrize("sign", [1, -1])
def test_values_too_large_to_compute_with_are_the_clients(
    name: str, request: pytest.FixtureRequest, sign: float
) -> None:
    model = Model(request.getfixturevalue(name))
    row = np.ones(30)
    row[3] = sign * model.largest
    for rows in (row.reshape(1, -1), np.array([row, row])):
        assert np.isfinite(model.predict(rows)).all()
    row[3] *= 1.0001
    for rows in (row.reshape(1, -1), np.array([row, row])):
        with pytest.raises(InvalidInput, match=r'feature "mean area" is larger than'):
            model.predict(rows)


@pytest.mark.parametrize("link", [logistic_link, clipped])
@given(score=st.floats(allow_infinity=True, allow_nan=False))
def test_a_link_gives_a_probability_for_any_score(link: type[float], score: float) -> None:
    assert 0.0 <= link(score) <= 1.0


@pytest.mark.parametrize("link", [logistic_link, clipped])
def test_a_score_that_is_no_number_stays_none(link: type[float]) -> None:
    assert np.isnan(link(float("nan")))


def test_threads_do_not_get_each_others_predictions(forest: Artifact, rows: Rows) -> None:
    """A row alone is predicted in memory that is kept for it, but only on one thread."""
    model = Model(forest)
    expected = model.predict(rows).tolist()
    singles = [row.reshape(1, -1) for row in rows] * 10
    with ThreadPoolExecutor(4) as pool:
        found = [response[0] for response in pool.map(model.predict, singles)]
    assert found == expected * 10
