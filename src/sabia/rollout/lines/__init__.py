"""The lines of evidence of one canary: each compares one thing, keeps its bets, and counts.

Everything here is plain numbers, written to the record at every look and read back bit for bit. A line takes what
happened in both arms since the last look, with what was known of the stable *before* it.
"""

from __future__ import annotations

import msgspec

from sabia.rollout.lines.errors import ErrorsLine
from sabia.rollout.lines.labels import LabelsLine
from sabia.rollout.lines.predictions import PredictionsLine
from sabia.rollout.lines.refusals import RefusalsLine
from sabia.rollout.lines.stable import Look, Stable
from sabia.rollout.lines.times import TimesLine
from sabia.rollout.plan import Plan, seconds

__all__ = ["ErrorsLine", "LabelsLine", "Lines", "Look", "PredictionsLine", "RefusalsLine", "Stable", "TimesLine"]

# The whole duration depends on the load of the arm; only this much of it is a reason to hold.
_DURATION_TOLERANCE, _DURATION_SLACK, _DURATION_QUANTILE = 2.0, 0.05, 0.99


class Lines(msgspec.Struct, frozen=True):
    """Every line of one canary; those that the plan leaves out are None. `duration` is a guard and in no plan."""

    errors: ErrorsLine
    latency: TimesLine | None
    duration: TimesLine
    predictions: PredictionsLine | None
    labels: LabelsLine | None
    refusals: RefusalsLine | None = None

    @classmethod
    def start(cls, plan: Plan) -> Lines:
        """No evidence yet."""
        watch = plan.watch
        return cls(
            ErrorsLine.start(plan),
            TimesLine.start(len(watch.latency.quantiles)) if watch.latency else None,
            TimesLine.start(1),
            PredictionsLine.start(watch.predictions.budget) if watch.predictions else None,
            LabelsLine.start(watch.labels.tolerance) if watch.labels else None,
            RefusalsLine.start(watch.refusals.tolerance) if watch.refusals else None,
        )

    def update(self, plan: Plan, look: Look, *, own_buckets: bool = True) -> Lines:
        """After one more batch; times in buckets that are not `own_buckets` are compared without tolerance."""
        watch = plan.watch
        latency, predictions, labels = self.latency, self.predictions, self.labels
        if latency is not None and watch.latency is not None:
            rules = watch.latency
            tolerance, slack = (rules.tolerance, seconds(rules.slack)) if own_buckets else (1.0, 0.0)
            latency = latency.update("decision", rules.quantiles, look, tolerance=tolerance, slack=slack)
        if predictions is not None and watch.predictions is not None:
            predictions = predictions.update(watch.predictions.budget, look)
        if labels is not None and watch.labels is not None:
            labels = labels.update(watch.labels.tolerance, look)
        refusals = self.refusals
        if refusals is not None and watch.refusals:
            refusals = refusals.update(watch.refusals.tolerance, look)
        duration = self.duration.update(
            "duration", [_DURATION_QUANTILE], look, tolerance=_DURATION_TOLERANCE, slack=_DURATION_SLACK
        )
        return Lines(self.errors.update(plan, look), latency, duration, predictions, labels, refusals)

    def log_e(self, plan: Plan) -> dict[str, float]:
        """Log of the evidence of each line."""
        found = {"errors": self.errors.log_e(plan)}
        if self.latency is not None:
            found["latency"] = self.latency.log_e
        if self.predictions is not None and plan.watch.predictions is not None:
            found["predictions"] = self.predictions.log_e(plan.watch.predictions.budget)
        if self.labels is not None:
            found["labels"] = self.labels.bets.log_e
        if self.refusals is not None and plan.watch.refusals:
            found["refusals"] = self.refusals.log_e(plan.watch.refusals.floor)
        found["duration"] = self.duration.log_e
        return found
