"""Labels for a running rollout: a source of counters that adds the batches of predictions whose labels have arrived.

A batch is the predictions of some minutes in which the weights did not change, so that whatever made labels harder to
predict then did so for both arms. It is closed some time after its end, and then counted once, however many labels it
has: a late label that counted would let the outcome decide which predictions are compared. The times are those of the
record's entries; what was counted is part of the record, and is not counted again when it is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from sabia.contract.layout import Version
from sabia.errors import SabiaError
from sabia.monitoring.truth import truth_of
from sabia.registry.catalogue import manifest_of
from sabia.rollout.counters import Scrape
from sabia.rollout.plan import Labels, Plan
from sabia.rollout.ports import Source
from sabia.rollout.record import Record
from sabia.rollout.state import State
from sabia.store.objects import Store

# Requests this close to a change of the weights are left out: the clocks of the servers and of the engine differ.
_EDGE = timedelta(seconds=1)

Counts = dict[str, tuple[int, int]]


def with_labels(
    source: Source,
    store: Store,
    record: Record,
    *,
    report: Callable[[str], None] = lambda _: None,
    cache: Path | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Source:
    """A source that adds the labels of a rollout's predictions; the source itself if its plan does not compare labels.

    Args:
        source: counts everything else.
        store: versions, the log and the labels.
        record: of the rollout.
        report: gets a line when labels cannot be read.
        cache: folder for files of a remote log.
        now: the time, in UTC.
    """
    plan = record.plan()
    rules = plan.watch.labels
    return source if rules is None else _LabelledSource(source, store, record, plan, rules, report, cache, now)


@dataclass(frozen=True, slots=True)
class _Interval:
    """A time in which the weights did not change; without an end it lasts."""

    since: datetime
    until: datetime | None = None


class _LabelledSource:
    """See `with_labels`."""

    def __init__(
        self,
        source: Source,
        store: Store,
        record: Record,
        plan: Plan,
        rules: Labels,
        report: Callable[[str], None],
        cache: Path | None,
        now: Callable[[], datetime],
    ) -> None:
        self._source, self._store, self._record = source, store, record
        self._plan, self._rules, self._report, self._cache, self._now = plan, rules, report, cache, now
        self._read = 0
        self._state: State | None = None
        self._intervals: list[_Interval] = []
        self._split: object = None
        self._counted: dict[str, Counts] = {}
        self._problem = ""

    def scrape(self) -> Scrape:
        """See `Source.scrape`. Labels that cannot be read are reported, and are no reason not to look at the rest."""
        scrape = self._source.scrape()
        try:
            labels, problem = self._labels(), ""
        except ImportError as error:
            labels, problem = {}, f"labels are not compared: install sabia[monitoring] ({error.name} is missing)"
        except SabiaError as error:
            labels, problem = {}, f"labels cannot be read: {error}"
        if problem and problem != self._problem:
            self._report(problem)
        self._problem = problem
        return msgspec.structs.replace(scrape, labels=labels) if labels else scrape

    def _labels(self) -> dict[str, Counts]:
        """The closed batches that some canary has not scored, of at least one label in both arms."""
        self._follow()
        due = {period[0].isoformat(timespec="milliseconds"): period for period in self._closed()}
        missing = {batch: period for batch, period in due.items() if batch not in self._counted}
        if missing:
            self._counted |= self._count(missing)
        return {batch: self._counted[batch] for batch in due if self._is_comparable(self._counted[batch])}

    def _is_comparable(self, counts: Counts) -> bool:
        compared, _ = counts[self._plan.compared]
        return compared > 0 and any(counts[canary][0] > 0 for canary in self._plan.canaries)

    def _follow(self) -> None:
        """Read the entries that the record has got since."""
        while (recorded := self._record.entry(self._read)) is not None:
            entry, self._read, self._state = recorded[0], self._read + 1, recorded[0].state
            at, split = datetime.fromisoformat(entry.at), self._weights_of(entry.state)
            if split == self._split:
                continue
            if self._split is not None:
                self._intervals[-1] = _Interval(self._intervals[-1].since, at)
            if split is not None:
                self._intervals.append(_Interval(at))
            self._split = split

    def _weights_of(self, state: State) -> object:
        """What must not change within a batch; None where nothing is compared."""
        if state.confirmed is None or state.confirmed != state.desired or state.ended:
            return None
        sharing = [version for version, weight in state.confirmed.items() if weight > 0]
        return (state.confirmed, state.paused) if len(sharing) > 1 else None

    def _closed(self) -> Iterator[tuple[datetime, datetime]]:
        """The batches that are closed and that some active canary has not scored."""
        now, length = self._now(), timedelta(seconds=self._rules.batch_seconds)
        closed = now - timedelta(seconds=self._rules.wait_seconds)
        lines = [] if self._state is None else [self._state.lines[canary].labels for canary in self._state.active]
        scored = [set(line.scored) for line in lines if line is not None]
        for interval in self._intervals:
            start, end = interval.since + _EDGE, (interval.until or now) - _EDGE
            while start < end:
                until = min(start + length, end)
                is_whole = interval.until is not None or until == start + length
                name = start.isoformat(timespec="milliseconds")
                if is_whole and until <= closed and any(name not in batches for batches in scored):
                    yield start, until
                start = start + length

    def _count(self, batches: dict[str, tuple[datetime, datetime]]) -> dict[str, Counts]:
        # DuckDB takes a while to import, and is not installed everywhere.
        from sabia.monitoring import queries  # noqa: PLC0415
        from sabia.monitoring.archive import Archive  # noqa: PLC0415

        plan = self._plan
        output = manifest_of(self._store, plan.model, Version.parse(plan.stable)).signature.primary_output
        truth = truth_of(output)
        wrong = None if truth is None else truth.wrong(self._rules.largest_error)
        nothing: Counts = dict.fromkeys(plan.versions, (0, 0))
        if wrong is None:
            return dict.fromkeys(batches, nothing)
        days = [moment.date() for period in batches.values() for moment in period]
        counted = {}
        with Archive(self._store, plan.model, min(days), max(days), cache=self._cache, memory="128MB") as archive:
            for name, (since, until) in batches.items():
                period = queries.Period(since, until)
                counts = queries.wrong_predictions(archive, [plan.stable, *plan.canaries], period, wrong)
                # The log has the number of the version, not which copy of it answered.
                counted[name] = nothing | counts | {plan.compared: counts[plan.stable]}
        return counted
