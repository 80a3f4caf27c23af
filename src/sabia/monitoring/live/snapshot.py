"""The state that the live page shows."""

from __future__ import annotations

import msgspec

from sabia.monitoring.rollouts import Rollout


class VersionState(msgspec.Struct, frozen=True):
    """One version. `requests` and `failed` count since its servers started; None if the servers do not respond."""

    version: str
    aliases: list[str]
    weight: int
    serving: bool
    requests: int | None
    failed: int | None
    rate: float | None
    trouble: str | None


class VersionDrift(msgspec.Struct, frozen=True):
    """One version in the recent log.

    Attributes:
        drifted: the features that drifted; None when there are too few rows.
        quality: its first metric and the number of labelled rows, or why there is none.
    """

    version: str
    rows: int
    drifted: list[str] | None
    quality: str


class Snapshot(msgspec.Struct, frozen=True):
    """The state at one time.

    Attributes:
        at: the time, in UTC.
        rollouts: the newest first.
        drift_at: when the log was last read.
        problems: what is missing from the snapshot, one sentence each.
        actions: whether the page may take actions.
    """

    model: str
    at: str
    versions: list[VersionState]
    rollouts: list[Rollout]
    drift: list[VersionDrift]
    drift_at: str | None
    problems: list[str]
    actions: bool
