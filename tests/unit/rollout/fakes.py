"""A split, counters and a clock for rollouts without servers; `test_fakes` holds them against what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from sabia.contract.durations import EDGES
from sabia.rollout.counters import BUCKETS, Counters, Scrape
from sabia.rollout.engine import Engine, start
from sabia.rollout.errors import NotScraped, RolloutError
from sabia.rollout.plan import Plan, from_mapping
from sabia.rollout.record import Record
from sabia.store.objects import Store

STABLE, CANARY = "1.2", "2.0"


def a_plan(**changed: object) -> Plan:
    """A plan of the talk's model, as the design has it."""
    return from_mapping({"model": "breast-cancer", "stable": STABLE, "canary": CANARY} | changed)


class FakeClock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.jump = timedelta(0)
        self.passed: list[Callable[[float], None]] = []

    def now(self) -> float:
        """Seconds waited so far."""
        return self.seconds

    def utc(self) -> datetime:
        """A date that may be made to jump."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds) + self.jump

    def wait(self, seconds: float) -> None:
        """Let time pass, and run the hooks."""
        self.seconds += seconds
        for hook in self.passed:
            hook(seconds)


@dataclass
class Behaviour:
    """How one version answers.

    Attributes:
        errors: share of its requests that fail.
        refusals: share of its requests that it refuses with 4xx.
        late: share of its requests whose clients did not wait.
        median: of its decisions' time, in seconds; log-normal with sigma 0.5.
        shares: of its predictions by bin.
        replicas: servers.
    """

    errors: float = 0.001
    refusals: float = 0.0
    late: float = 0.0
    median: float = 0.02
    shares: list[float] = field(default_factory=lambda: [0.5, 0.3, 0.2])
    replicas: int = 1


class FakeWorld:
    """Versions behind weights, with requests that go to them as time passes: a split and a source at once."""

    def __init__(self, rate: float, behaviours: Mapping[str, Behaviour], *, seed: int = 0) -> None:
        self.rate = rate
        self.behaviours = dict(behaviours)
        self.in_force = {version: 100 if version == STABLE else 0 for version in behaviours}
        self.failures = dict.fromkeys(behaviours, 0)
        self.moves: list[dict[str, int]] = []
        self.unreachable: str | None = None
        self.refuses: RolloutError | None = None
        self.trouble: dict[str, str] = {}
        self._rng = np.random.default_rng(seed)
        self._counters = {(version, at): Counters() for version, b in behaviours.items() for at in range(b.replicas)}

    # -- a split -----------------------------------------------------------------------------------------------------

    def weights(self) -> dict[str, int]:
        """See `Split.weights`."""
        return dict(self.in_force)

    def set_weights(self, weights: Mapping[str, int]) -> dict[str, int]:
        """See `Split.set_weights`."""
        if self.refuses is not None:
            raise self.refuses
        self.in_force = {version: weights.get(version, 0) for version in self.in_force}
        self.moves.append(self.weights())
        return self.weights()

    def mirror(self) -> str | None:
        """See `Split.mirror`."""
        return None

    def set_mirror(self, version: str | None) -> None:
        """See `Split.set_mirror`."""

    def request_counts(self) -> dict[str, int]:
        """See `Split.request_counts`."""
        return {v: sum(c.requests for (of_, _), c in self._counters.items() if of_ == v) for v in self.behaviours}

    # -- a source ----------------------------------------------------------------------------------------------------

    def scrape(self) -> Scrape:
        """See `Source.scrape`."""
        if self.unreachable is not None:
            raise NotScraped(self.unreachable)
        arms: dict[str, dict[str, Counters]] = {}
        for (version, at), counters in self._counters.items():
            arms.setdefault(version, {})[f"{version}-{at}"] = counters
        return Scrape(arms, {}, dict(self.trouble))

    # -- time --------------------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Send the requests of this time to the versions, by weight."""
        total = int(self._rng.poisson(self.rate * seconds))
        for version, weight in self.in_force.items():
            replicas = self.behaviours[version].replicas
            for at in range(replicas):
                self._answer(version, at, round(total * weight / 100 / replicas))

    def restart(self, version: str, at: int = 0) -> None:
        """A server starts again: its counters are lost."""
        self._counters[version, at] = Counters()

    def add_replica(self, version: str) -> None:
        """One server more."""
        behaviour = self.behaviours[version]
        self._counters[version, behaviour.replicas] = Counters()
        behaviour.replicas += 1

    def remove_replica(self, version: str) -> None:
        """One server less."""
        behaviour = self.behaviours[version]
        behaviour.replicas -= 1
        del self._counters[version, behaviour.replicas]

    def _answer(self, version: str, at: int, n: int) -> None:
        behaviour, before = self.behaviours[version], self._counters[version, at]
        refused, late = (
            int(self._rng.binomial(n, share)) if share else 0 for share in (behaviour.refusals, behaviour.late)
        )
        n = max(0, n - refused - late)
        failed = int(self._rng.binomial(n, behaviour.errors))
        self.failures[version] += failed
        times = behaviour.median * np.exp(0.5 * self._rng.standard_normal(n - failed))
        found = np.bincount(np.searchsorted(EDGES, times), minlength=BUCKETS)
        histogram = {int(b): int(found[b]) + before.decision.get(int(b), 0) for b in np.flatnonzero(found)}
        predicted = self._rng.multinomial(n - failed, behaviour.shares)
        bins = {str(b): int(count) + before.bins.get(str(b), 0) for b, count in enumerate(predicted)}
        self._counters[version, at] = Counters(
            requests=before.requests + n,
            errors=before.errors + failed,
            decision=before.decision | histogram,
            duration=before.decision | histogram,
            bins=bins,
            refused=before.refused + refused,
            aside=before.aside + late,
        )


@dataclass
class Rig:
    """A rollout in a fake world, and the store of its record."""

    world: FakeWorld
    clock: FakeClock
    store: Store
    record: Record

    @classmethod
    def start(cls, plan: Plan, rate: float, *, seed: int = 0, **behaviours: Behaviour) -> Rig:
        """A rollout that has been started; behaviours are `stable`, `canary`, `other` (a second canary), `baseline`."""
        named = {"stable": STABLE, "canary": CANARY, "other": "2.1", "baseline": f"{STABLE}-baseline"}
        every = {STABLE: Behaviour(), CANARY: Behaviour()}
        every |= {named[name]: behaviour for name, behaviour in behaviours.items()}
        world, clock, store = FakeWorld(rate, every, seed=seed), FakeClock(), Store.open("memory://")
        clock.passed.append(world.pass_time)
        world.pass_time(60)
        return cls(world, clock, store, start(store, plan, world.weights(), actor="test", clock=clock))

    def engine(self) -> Engine:
        """A new engine that goes on from the record."""
        return Engine(self.record, self.world, self.world, clock=self.clock)

    def run(self, *, looks: int = 2000) -> Engine:
        """Run until the end, or for `looks` looks."""
        engine, limit = self.engine(), self.clock.seconds + looks * self.record.plan().look_seconds
        engine.run(lambda: self.clock.seconds >= limit)
        return engine
