from __future__ import annotations

import numpy as np
import onnx
import pytest

from sabia.publishing.conversion import OPSET, run, to_onnx
from sabia.publishing.gate import check_parity
from sabia.training.datasets import Split
from sabia.training.models import METHODS
from tests.unit.training.test_models import parts, trained

__all__ = ["parts"]


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("methods", METHODS)
def test_the_served_model_predicts_as_its_estimator_does(methods: str, parts: Split) -> None:
    """Forests and boosting too, although no version of theirs is published yet."""
    model = trained(methods, parts)
    served = to_onnx(model, len(parts.training.names))
    jittered = np.vstack([parts.held_out.features, parts.held_out.features * 1.0001])
    assert check_parity(model, served, jittered) <= model.parity_tolerance


@pytest.mark.parametrize("methods", METHODS)
def test_conversion_gives_the_same_bytes_each_time(methods: str, parts: Split) -> None:
    model = trained(methods, parts)
    assert to_onnx(model, len(parts.training.names)) == to_onnx(model, len(parts.training.names))


@pytest.mark.parametrize("methods", METHODS)
def test_the_opsets_are_the_pinned_ones_and_no_other(methods: str, parts: Split) -> None:
    graph = onnx.load_from_string(to_onnx(trained(methods, parts), len(parts.training.names)))
    assert sorted((item.domain, item.version) for item in graph.opset_import) == sorted(OPSET.items())


@pytest.mark.parametrize("methods", METHODS)
def test_every_model_has_one_input_and_one_vector_of_predictions(methods: str, parts: Split) -> None:
    served = to_onnx(trained(methods, parts), len(parts.training.names))
    assert run(served, parts.held_out.features[:1]).shape == (1,)
    assert run(served, parts.held_out.features).shape == (parts.held_out.rows,)
