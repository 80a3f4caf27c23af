from __future__ import annotations

import numpy as np
import pytest

from sabia.publishing import gate
from sabia.publishing.conversion import to_onnx
from sabia.publishing.errors import ConstantRefused, FloorRefused, ParametersRefused, ParityRefused
from sabia.publishing.model import Floor
from sabia.training.datasets import Split
from sabia.training.models import LinearRegression
from tests.drafts import EVALUATION
from tests.unit.training.test_models import parts, trained

__all__ = ["parts"]


def test_a_model_that_disagrees_with_its_estimator_is_refused(parts: Split) -> None:
    one, other = trained("linear-regression", parts), trained("logistic-regression", parts)
    with pytest.raises(ParityRefused, match="is allowed"):
        gate.check_parity(one, to_onnx(other, len(parts.training.names)), parts.held_out.features)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_parameter_that_is_not_finite_is_refused(value: float) -> None:
    model = LinearRegression()
    model.params = {"coefficients": [1.0, value], "intercept": 0.0}
    with pytest.raises(ParametersRefused, match="coefficients"):
        gate.check_parameters(model)


def test_a_constant_prediction_is_refused() -> None:
    with pytest.raises(ConstantRefused, match=r"0\.5"):
        gate.check_prediction(np.full(10, 0.5))


@pytest.mark.parametrize("floor", [Floor(accuracy=0.91), Floor(roc_auc=0.96)])
def test_a_metric_under_its_floor_is_refused(floor: Floor) -> None:
    with pytest.raises(FloorRefused):
        gate.check_floor(EVALUATION, floor)


def test_a_metric_at_its_floor_passes() -> None:
    gate.check_floor(EVALUATION, Floor(accuracy=EVALUATION.values["accuracy"], roc_auc=EVALUATION.values["roc_auc"]))
