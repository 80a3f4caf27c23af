"""Clients of real versions, and rows to ask them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from artifacts import Artifact
from tests.predictor.clients import Client
from training.datasets import load


@pytest.fixture
def client(logistic: Artifact) -> Client:
    """A client of version 2.0."""
    return Client(logistic)


@pytest.fixture(scope="session")
def rows() -> NDArray[np.float64]:
    """Real rows, shape (569, 30)."""
    return load("sklearn:breast_cancer").features
