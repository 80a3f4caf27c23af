"""The exit codes of `sabia`, and the one place that decides them.

| code | meaning |
|---|---|
| 0 | done |
| 1 | it failed, or a check did not hold |
| 2 | the command line is wrong |
| 3 | there is no such model, version, alias, route or key |
| 4 | what lies in the store is not what was published |
| 5 | the store, the stack or the cluster cannot be reached |
"""

from __future__ import annotations

from sabia.local.errors import NotRunning, StackError
from sabia.monitoring.errors import InvalidLabels, MonitoringError, NothingLogged
from sabia.rollout.errors import (
    BrokenRecord,
    ClusterUnreachable,
    InvalidPlan,
    RolloutError,
    RolloutNotFound,
    RouteNotFound,
    UnknownVersion,
)
from sabia.sequential import EvidenceError
from sabia.serving.errors import PredictorError
from sabia.store.errors import ArtifactError, IntegrityError, InvalidName, NotFound, StoreError
from sabia.training.errors import InvalidRecipe, TrainingError, UnknownDataset, UnknownMethods

FAILED = 1

CODES: tuple[tuple[type[Exception], int], ...] = (
    (InvalidName, 2),
    (InvalidRecipe, 2),
    (UnknownDataset, 3),
    (UnknownMethods, 3),
    (UnknownVersion, 3),
    (RouteNotFound, 3),
    (InvalidPlan, 2),
    (RolloutNotFound, 3),
    (BrokenRecord, 4),
    (NotFound, 3),
    (IntegrityError, 4),
    (StoreError, 5),
    (NotRunning, 5),
    (ClusterUnreachable, 5),
    (InvalidLabels, 2),
    (NothingLogged, 3),
    (PredictorError, FAILED),
    (ArtifactError, FAILED),
    (TrainingError, FAILED),
    (StackError, FAILED),
    (RolloutError, FAILED),
    (EvidenceError, FAILED),
    (MonitoringError, FAILED),
)


class CliError(Exception):
    """A command cannot do what was asked; the message says why."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def code_of(error: Exception) -> int:
    """The exit code for one of our errors."""
    if isinstance(error, CliError):
        return error.code
    return next(code for kind, code in CODES if isinstance(error, kind))


KNOWN = (
    ArtifactError,
    TrainingError,
    PredictorError,
    StackError,
    RolloutError,
    EvidenceError,
    MonitoringError,
    CliError,
)
