"""What happens to a rollout: each event is one entry of its record."""

from __future__ import annotations

from typing import Literal

import msgspec

from sabia.rollout.counters import Scrape
from sabia.rollout.plan import Plan

Action = Literal["pause", "resume", "promote", "abort"]


class Started(msgspec.Struct, frozen=True, tag="start"):
    """A rollout starts: its plan, and the weights before it."""

    plan: Plan
    weights: dict[str, int]
    actor: str


class Looked(msgspec.Struct, frozen=True, tag="look", omit_defaults=True):
    """Counters and weights at a look, or why they are unavailable.

    `elapsed`: seconds since the look before, by the engine's own clock; 0 after the engine started.
    """

    scrape: Scrape | None = None
    weights: dict[str, int] | None = None
    elapsed: float = 0.0
    problem: str | None = None


class Moved(msgspec.Struct, frozen=True, tag="moved", omit_defaults=True):
    """The desired weights are in force; counters from right after, from which the next batch counts."""

    weights: dict[str, int]
    scrape: Scrape | None = None


class Acted(msgspec.Struct, frozen=True, tag="action", omit_defaults=True):
    """A person, or another program, acted."""

    action: Action
    actor: str
    version: str | None = None


Event = Started | Looked | Moved | Acted


def kind(event: Event) -> str:
    """The name of an event in records and reports: start, look, moved, action."""
    return str(event.__struct_config__.tag)
