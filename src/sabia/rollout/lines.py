"""The lines of evidence of one canary: each compares one thing, keeps its bets, and says what it saw.

Everything here is plain numbers, so that it can be written down at every look and read back bit for bit. A line takes
what happened in both arms since the last look, together with what was known of the stable *before* it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.contract.durations import EDGES
from sabia.rollout.counters import BUCKETS, Arm
from sabia.rollout.plan import Plan, seconds
from sabia.sequential import (
    Batch,
    Categories,
    DifferenceTest,
    Dispersion,
    Memory,
    OddsTest,
    exceedance,
    shifted,
    total_variation,
)
from sabia.sequential import Wealth as Bets
from sabia.sequential.categories import over_represented
from sabia.sequential.latency import RATIOS as LATENCY_RATIOS
from sabia.sequential.wealth import Array

# The whole duration depends on the load of the arm; only so much of it is a reason to stop and look.
_DURATION_TOLERANCE, _DURATION_SLACK, _DURATION_QUANTILE = 2.0, 0.05, 0.99
_FORGETTING = 1 - 1 / 240

Log = float | None  # minus infinity is written as null: JSON has no other way


class Wealth(msgspec.Struct, frozen=True):
    """`evidence.Wealth` as numbers."""

    bets: list[Log]
    batches: int
    late: bool

    @classmethod
    def of(cls, wealth: Bets) -> Wealth:
        """As numbers."""
        return cls([freeze(value) for value in wealth.bets.tolist()], wealth.batches, wealth.late)

    def thaw(self) -> Bets:
        """As arrays."""
        return Bets(np.array([thaw(value) for value in self.bets]), self.batches, self.late)

    @property
    def log_e(self) -> float:
        """Log of the evidence."""
        return float(self.thaw().log_e)


def freeze(value: float) -> Log:
    """A log that JSON can hold."""
    return None if value == -math.inf else value


def thaw(value: Log) -> float:
    """And back."""
    return -math.inf if value is None else value


class Stable(msgspec.Struct, frozen=True):
    """What is known of the stable before a look; every canary is compared with the same.

    Attributes:
        n, errors: requests and failures, with older ones forgotten.
        scatter, pairs, last_n, last_x: see `evidence.Dispersion`.
        decision, duration: weights by bucket, see `evidence.Memory`.
        lately: requests and failures of each of the last looks: is it worse than it was before them?
    """

    n: float = 0.0
    errors: float = 0.0
    scatter: float = 0.0
    pairs: float = 0.0
    last_n: int = 0
    last_x: int = 0
    decision: dict[int, float] = {}
    duration: dict[int, float] = {}
    lately: list[tuple[int, int]] = []

    @property
    def guess(self) -> float:
        """The rate of failures as it is thought before the next batch; half a failure in 200 requests at first."""
        return (self.errors + 0.5) / (self.n + 200.0)

    @property
    def phi(self) -> float:
        """See `evidence.Dispersion.phi`."""
        return float(self._dispersion.phi)

    @property
    def _dispersion(self) -> Dispersion:
        seen = np.asarray(self.scatter), np.asarray(self.pairs)
        return Dispersion(seen[0], seen[1], np.asarray(self.last_n), np.asarray(self.last_x))

    def memory(self, name: str) -> Memory:
        """How long its requests took lately."""
        weights = np.zeros(BUCKETS)
        for bucket, weight in getattr(self, name).items():
            weights[bucket] = weight
        return Memory(weights)

    def remembering(self, decision: Array, duration: Array) -> Stable:
        """With what went on before the first look, of shape (BUCKETS,) each."""
        begun = {"decision": Memory.begin(decision), "duration": Memory.begin(duration)}
        return msgspec.structs.replace(self, **{name: _sparse(memory) for name, memory in begun.items()})

    def after(self, arm: Arm) -> Stable:
        """What is known after one more batch."""
        scattered = self._dispersion.after(np.asarray(arm.n), np.asarray(arm.errors))
        return Stable(
            n=self.n * _FORGETTING + arm.n,
            errors=self.errors * _FORGETTING + arm.errors,
            scatter=float(scattered.scatter),
            pairs=float(scattered.pairs),
            last_n=int(scattered.last_n),
            last_x=int(scattered.last_x),
            decision=_sparse(self.memory("decision").after(arm.decision)),
            duration=_sparse(self.memory("duration").after(arm.duration)),
            lately=[*self.lately, (arm.n, arm.errors)][-_RECENT:],
        )

    @property
    def worsening(self) -> str | None:
        """How much worse it fares in the last looks than before them; None when it does not."""
        n, errors = (sum(item[at] for item in self.lately) for at in (0, 1))
        old_n, old_errors = self.n - n, self.errors - errors
        if len(self.lately) < _RECENT or old_n < _ENOUGH or errors < _WORSE_SHARE * n or n == 0:
            return None
        table = Batch.of(round(old_n), n, min(round(max(old_errors, 0.0)), round(old_n)), errors)
        log_e = float(np.max(OddsTest(null=_WORSE_ODDS, ratios=(2.0, 10.0)).log_e(table)))
        if log_e < math.log(1000):
            return None
        return f"{errors:,} of its last {n:,} requests failed, {old_errors / old_n:.2%} of those before"


# The stable is worse than its own history when of the last looks a twentieth failed, with more than five times the odds
# of before, a thousand to one.
_RECENT = 4
_ENOUGH = 200.0
_WORSE_SHARE = 0.05
_WORSE_ODDS = 5.0


def _sparse(memory: Memory) -> dict[int, float]:
    at = np.flatnonzero(memory.weights)
    return dict(zip(at.tolist(), memory.weights[at].tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Look:
    """One batch: both arms, and the stable as it was known before."""

    stable: Arm
    canary: Arm
    known: Stable


class ErrorsLine(msgspec.Struct, frozen=True):
    """Failing requests: harm against the tolerance, safety against each margin.

    Attributes:
        harm: see `evidence.OddsTest`.
        within: by margin, see `evidence.DifferenceTest`.
        n0, x0, n1, x1: requests and failures of stable and canary, all of the rollout.
    """

    harm: Wealth
    within: dict[str, Wealth]
    n0: int = 0
    x0: int = 0
    n1: int = 0
    x1: int = 0

    @classmethod
    def begin(cls, plan: Plan) -> ErrorsLine:
        """No evidence yet."""
        within = {key(margin): Wealth.of(DifferenceTest(margin).begin()) for margin in plan.margins}
        return cls(Wealth.of(_errors_test(plan).begin()), within)

    def look(self, plan: Plan, look: Look) -> ErrorsLine:
        """After one more batch."""
        batch = Batch.of(look.stable.n, look.canary.n, look.stable.errors, look.canary.errors)
        phi = look.known.phi
        harm = _errors_test(plan).look(self.harm.thaw(), batch, phi)
        within = {
            name: Wealth.of(DifferenceTest(float(name)).look(wealth.thaw(), batch, look.known.guess, phi))
            for name, wealth in self.within.items()
        }
        seen = (self.n0 + look.stable.n, self.x0 + look.stable.errors, self.n1 + look.canary.n)
        return ErrorsLine(Wealth.of(harm), within, *seen, self.x1 + look.canary.errors)

    def log_e(self, plan: Plan) -> float:
        """Log of the evidence of harm; none while the canary fails no more than the floor."""
        floor = plan.watch.errors.floor / 100 if plan.watch.errors else 0.0
        return self.harm.log_e if self.x1 > floor * self.n1 else min(self.harm.log_e, 0.0)

    def safe(self, margin: float) -> float:
        """Log of the evidence that the canary is within a margin."""
        return self.within[key(margin)].log_e


def key(margin: float) -> str:
    """A margin as the name of its test."""
    return f"{margin:g}"


def _errors_test(plan: Plan) -> OddsTest:
    return OddsTest(null=plan.watch.errors.tolerance if plan.watch.errors else 1.0)


_TIMES = OddsTest(ratios=LATENCY_RATIOS)


class TimesLine(msgspec.Struct, frozen=True):
    """Times over the stable's quantiles.

    Attributes:
        bets: one test for each quantile.
        over0, over1: for each quantile, requests of stable and canary over their threshold, all of the rollout.
        n0, n1: requests.
        thresholds: for each quantile, the last threshold of the stable in seconds; 0 before there is one.
    """

    bets: list[Wealth]
    over0: list[int]
    over1: list[int]
    n0: int
    n1: int
    thresholds: list[float]

    @classmethod
    def begin(cls, quantiles: int) -> TimesLine:
        """No evidence yet."""
        wealth = Wealth.of(_TIMES.begin())
        return cls([wealth] * quantiles, [0] * quantiles, [0] * quantiles, 0, 0, [0.0] * quantiles)

    def look(self, name: str, quantiles: list[float], look: Look, *, tolerance: float, slack: float) -> TimesLine:
        """After one more batch of the times called `name`."""
        memory, test = look.known.memory(name), _TIMES
        stable, canary = getattr(look.stable, name), getattr(look.canary, name)
        bets, over0, over1, edges = [], list(self.over0), list(self.over1), list(self.thresholds)
        for at, quantile in enumerate(quantiles):
            over = int(memory.threshold(quantile))
            if over < 0:
                bets.append(self.bets[at])
                continue
            batch = exceedance(stable, canary, over, shifted(over, EDGES, tolerance=tolerance, slack=slack))
            bets.append(Wealth.of(test.look(self.bets[at].thaw(), batch)))
            over0[at] += int(batch.x0)
            over1[at] += int(batch.x1)
            edges[at] = EDGES[min(over, len(EDGES) - 1)]
        n0, n1 = self.n0 + int(stable.sum()), self.n1 + int(canary.sum())
        return TimesLine(bets, over0, over1, n0, n1, edges)

    @property
    def log_e(self) -> float:
        """Log of the evidence, the average over the quantiles."""
        logs = [wealth.log_e for wealth in self.bets]
        top = max(logs)
        return top + math.log(sum(math.exp(log - top) for log in logs) / len(logs)) if top > -math.inf else top


class PredictionsLine(msgspec.Struct, frozen=True):
    """Predictions over their bins: do they differ at all, and by more than the budget?

    Attributes:
        names: the bins, as the first batch had them; whatever comes later is in the last of them, `OTHER`.
        shape, alone, observed, expected: any difference, see `evidence.Categories`.
        beyond: see `evidence.DifferenceTest`; more than the budget, on the bins that the canary has had more of.
        bins0, bins1: predictions of stable and canary by bin, all of the rollout.
        n0, n1: the requests that these were of.
    """

    beyond: Wealth
    names: list[str] = []
    shape: Wealth | None = None
    alone: Wealth | None = None
    observed: list[float] = []
    expected: list[float] = []
    bins0: list[int] = []
    bins1: list[int] = []
    n0: int = 0
    n1: int = 0

    @classmethod
    def begin(cls, budget: float) -> PredictionsLine:
        """No evidence yet."""
        return cls(Wealth.of(DifferenceTest(budget, beyond=True).begin()))

    def look(self, budget: float, look: Look) -> PredictionsLine:
        """After one more batch."""
        names = self.names or sorted({*look.stable.bins, *look.canary.bins}, key=lambda name: (len(name), name))
        if not names:
            return self
        if not self.names:
            names = [*names, OTHER]
        past = self._past(len(names))
        stable, canary = (_by_name(arm.bins, names) for arm in (look.stable, look.canary))
        # Rows of one request are not independent of each other: at worst they are all the same.
        phi = max(1.0, *(sum(bins) / n if n else 1.0 for bins, n in ((self.bins0, self.n0), (self.bins1, self.n1))))
        after = past.look(stable, canary, phi)
        more = over_represented(past)
        beyond = self.beyond
        if more.any():
            earlier = np.asarray(self.bins0)
            guess = (earlier[more].sum() + 0.5) / (earlier.sum() + 1.0)
            batch = Batch(stable.sum(), canary.sum(), stable[more].sum(), canary[more].sum())
            beyond = Wealth.of(DifferenceTest(budget, beyond=True).look(beyond.thaw(), batch, guess, phi))
        return PredictionsLine(
            beyond=beyond,
            names=names,
            shape=Wealth.of(after.shape),
            alone=Wealth.of(after.alone),
            observed=after.observed.tolist(),
            expected=after.expected.tolist(),
            bins0=(stable + np.asarray(self.bins0 or [0] * len(names))).tolist(),
            bins1=(canary + np.asarray(self.bins1 or [0] * len(names))).tolist(),
            n0=self.n0 + look.stable.n,
            n1=self.n1 + look.canary.n,
        )

    def _past(self, categories: int) -> Categories:
        if self.shape is None or self.alone is None:
            return Categories.begin(categories)
        seen = np.asarray(self.observed), np.asarray(self.expected)
        return Categories(self.shape.thaw(), self.alone.thaw(), *seen)

    def log_e(self, budget: float) -> float:
        """Log of the evidence of a shift beyond the budget; without a budget, of any."""
        return self.beyond.log_e if budget > 0 else float(self._past(len(self.names) or 1).log_e)

    @property
    def distance(self) -> float:
        """The total variation that was seen; chance alone makes some."""
        return float(total_variation(np.asarray(self.bins0 or [0]), np.asarray(self.bins1 or [0])))


# Predictions in bins that nobody had at first.
OTHER = "other"


def _by_name(bins: Mapping[str, int], names: list[str]) -> NDArray[np.int64]:
    found = [bins.get(name, 0) for name in names[:-1]]
    return np.array([*found, sum(bins.values()) - sum(found)], dtype=np.int64)


class LabelsLine(msgspec.Struct, frozen=True):
    """Predictions that turned out wrong, batch by batch of when they were *made*: the weights and the difficulty of
    that time are then the same for both arms, however late the truth arrived. Each closed batch is scored once.

    Attributes:
        bets: see `evidence.OddsTest`.
        scored: the batches that were.
        n0, x0, n1, x1: truths and wrong predictions of stable and canary.
    """

    bets: Wealth
    scored: list[str] = []
    n0: int = 0
    x0: int = 0
    n1: int = 0
    x1: int = 0

    @classmethod
    def begin(cls, tolerance: float) -> LabelsLine:
        """No evidence yet."""
        return cls(Wealth.of(OddsTest(null=tolerance).begin()))

    def look(self, tolerance: float, look: Look) -> LabelsLine:
        """After the batches that have been closed since."""
        line, test = self, OddsTest(null=tolerance)
        for batch in sorted({*look.stable.labels} & {*look.canary.labels} - {*self.scored}):
            (n0, x0), (n1, x1) = look.stable.labels[batch], look.canary.labels[batch]
            bets = test.look(line.bets.thaw(), Batch.of(n0, n1, x0, x1))
            seen = (line.n0 + n0, line.x0 + x0, line.n1 + n1, line.x1 + x1)
            line = LabelsLine(Wealth.of(bets), [*line.scored, batch], *seen)
        return line


class Lines(msgspec.Struct, frozen=True):
    """Every line of one canary; those that the plan leaves out are None. `duration` is a guard and in no plan."""

    errors: ErrorsLine
    latency: TimesLine | None
    duration: TimesLine
    predictions: PredictionsLine | None
    labels: LabelsLine | None

    @classmethod
    def begin(cls, plan: Plan) -> Lines:
        """No evidence yet."""
        watch = plan.watch
        return cls(
            ErrorsLine.begin(plan),
            TimesLine.begin(len(watch.latency.quantiles)) if watch.latency else None,
            TimesLine.begin(1),
            PredictionsLine.begin(watch.predictions.budget) if watch.predictions else None,
            LabelsLine.begin(watch.labels.tolerance) if watch.labels else None,
        )

    def look(self, plan: Plan, look: Look, *, own_buckets: bool = True) -> Lines:
        """After one more batch; times in buckets that are not `own_buckets` are compared without tolerance."""
        watch = plan.watch
        latency, predictions, labels = self.latency, self.predictions, self.labels
        if latency is not None and watch.latency is not None:
            rules = watch.latency
            tolerance, slack = (rules.tolerance, seconds(rules.slack)) if own_buckets else (1.0, 0.0)
            latency = latency.look("decision", rules.quantiles, look, tolerance=tolerance, slack=slack)
        if predictions is not None and watch.predictions is not None:
            predictions = predictions.look(watch.predictions.budget, look)
        if labels is not None and watch.labels is not None:
            labels = labels.look(watch.labels.tolerance, look)
        duration = self.duration.look(
            "duration", [_DURATION_QUANTILE], look, tolerance=_DURATION_TOLERANCE, slack=_DURATION_SLACK
        )
        return Lines(self.errors.look(plan, look), latency, duration, predictions, labels)

    def log_e(self, plan: Plan) -> dict[str, float]:
        """Log of the evidence of each line."""
        found = {"errors": self.errors.log_e(plan)}
        if self.latency is not None:
            found["latency"] = self.latency.log_e
        if self.predictions is not None and plan.watch.predictions is not None:
            found["predictions"] = self.predictions.log_e(plan.watch.predictions.budget)
        if self.labels is not None:
            found["labels"] = self.labels.bets.log_e
        found["duration"] = self.duration.log_e
        return found
