"""The example of a class in an image of one's own, as KServe's SDK calls it."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kserve import InferInput, InferRequest
from kserve.errors import InvalidInput

EXAMPLE = Path(__file__).parents[4] / "examples" / "airtime" / "airtime.py"


@pytest.fixture(scope="module")
def model() -> Any:
    """The example's model, loaded."""
    spec = importlib.util.spec_from_file_location("airtime", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.AirTime("airtime")
    assert found.load()
    return found


def call(model: Any, payload: Any) -> Any:
    """What the model responds, and the headers that it adds."""
    return asyncio.run(model(payload))


def test_both_protocols_have_the_same_minutes(model: Any) -> None:
    response, _ = call(model, {"instances": [{"origin": "EWR", "dest": "IAH"}, {"origin": "JFK", "dest": "JFK"}]})
    assert response == {"predictions": [195, 20]}
    tensors = [InferInput(name, [1], "BYTES") for name in ("origin", "dest")]
    for tensor, airport in zip(tensors, ("EWR", "IAH"), strict=True):
        tensor.set_data_from_numpy(np.array([airport], dtype=object), binary_data=False)
    response, _ = call(model, InferRequest("airtime", tensors))
    assert (response.outputs[0].name, response.outputs[0].data, bool(response.id)) == ("minutes", [195], True)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"origin": "EWR", "dest": "nowhere"}], "there is no airport 'nowhere'"),
        ([{"origin": "EWR"}], 'each row needs an "origin" and a "dest"'),
        ([7], 'each row needs an "origin" and a "dest"'),
    ],
)
def test_rows_that_make_no_sense_are_the_clients_fault(model: Any, rows: list[Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        call(model, {"instances": rows})
