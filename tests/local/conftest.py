"""A running platform, shared by the tests that only use it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sabia.local.lifecycle import train_missing
from sabia.local.split import EnvoySplit
from sabia.local.stack import Stack
from sabia.local.state import gateway_of, running
from sabia.training.datasets import Dataset, load


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder runs real servers."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.local)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Store, two predictors and the gateway, as real processes."""
    with Stack(tmp_path_factory.mktemp("stack")) as found:
        train_missing(found, found.start_store().open())
        found.start_predictors()
        found.start_gateway()
        yield found


@pytest.fixture
def traffic(stack: Stack) -> Iterator[EnvoySplit]:
    """The split, given back as the manifests have it."""
    found = EnvoySplit.from_state(gateway_of(stack.folder, running(stack.folder)), running(stack.folder))
    before = found.weights()
    yield found
    found.set_weights(before)


@pytest.fixture
def url(stack: Stack) -> str:
    """The gateway's URL."""
    assert stack.gateway is not None
    return stack.gateway.url


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """Real rows."""
    return load("sklearn:breast_cancer")
