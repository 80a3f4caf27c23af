"""The plan of a rollout: parsed from YAML, or from the `spec` of a `Rollout`, and checked before any weight moves.

A problem is reported with the field's name and, for a text, its line. A plan never changes while its
rollout runs: its digest is part of every record.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from sabia.contract import names
from sabia.contract.durations import DURATION_PATTERN, parse_duration
from sabia.contract.errors import InvalidName
from sabia.contract.layout import NAME_PATTERN, VERSION_PATTERN, Version, check_model_name
from sabia.documents import UnreadableDocument, read_yaml
from sabia.rollout.errors import InvalidPlan

Document = dict[str, Any]

_STEPS = [1, 5, 10, 25, 50]
# Percentage points, by the weight from which on they hold: while few requests are at stake, little has to be known.
_MARGINS = ((50.0, 1.0), (25.0, 1.0), (10.0, 2.0), (5.0, 5.0), (0.0, 20.0))

Probability = Annotated[float, msgspec.Meta(gt=0, lt=0.5)]
# Patterns are in the schemas; the checks here explain better what is wrong.
ModelName = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{NAME_PATTERN}$", "maxLength": 40})]
VersionName = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{VERSION_PATTERN}$", "maxLength": 13})]
Canaries = Annotated[list[VersionName], msgspec.Meta(min_length=1, max_length=10)]
Duration = Annotated[
    str | int | float,
    msgspec.Meta(extra_json_schema={"pattern": f"^{DURATION_PATTERN}$", "maxLength": 20, "minimum": 0}),
]
# Seconds; shorter looks and deadlines are rejected.
LEAST_DURATION = 0.05
Steps = Annotated[list[Annotated[int, msgspec.Meta(ge=1, le=99)]], msgspec.Meta(min_length=1, max_length=99)]
Quantiles = Annotated[list[Annotated[float, msgspec.Meta(gt=0, lt=1)]], msgspec.Meta(min_length=1, max_length=10)]
MarginList = Annotated[list[Annotated[float, msgspec.Meta(gt=0, lt=100)]], msgspec.Meta(max_length=99)]
Choice = Literal["hold", "roll-back"]
_BATCH_SECONDS, _WAIT_SECONDS = 600.0, 3600.0


class Harm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`alpha`: the probability of rolling back a canary that is no worse, over the whole rollout."""

    alpha: Probability = 0.01


class Margins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`errors`: how many percentage points more of the canary's requests may fail, one number for each step."""

    errors: MarginList = []


class Safe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`beta`: the probability of going on with a canary that is worse than the margin, over the whole rollout."""

    beta: Probability = 0.05
    margins: Margins = Margins()


class Errors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests that fail. `tolerance`: the ratio of odds that is still fine. `floor`: percent of the canary's requests
    that may fail before anything counts as harm.
    """

    tolerance: Annotated[float, msgspec.Meta(ge=1, le=100)] = 1.0
    floor: Annotated[float, msgspec.Meta(ge=0, lt=100)] = 0.2


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The time of the prediction itself. `tolerance` (a ratio) and `slack` (a time) together are what is still fine."""

    quantiles: Quantiles = msgspec.field(default_factory=lambda: [0.5, 0.9, 0.99])
    tolerance: Annotated[float, msgspec.Meta(ge=1, le=100)] = 1.05
    slack: Duration = "1ms"
    on_harm: Choice = "roll-back"


class Predictions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`budget`: by how much (total variation, 0 to 1) the canary's predictions may differ; they are expected to."""

    budget: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.10
    on_shift: Choice = "hold"


class Labels(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Predictions that turned out wrong: another class than the label, or a value whose error is beyond a threshold.

    `tolerance`: the ratio of odds that is still fine. `error_beyond`: the largest absolute error of a predicted value
    that is not wrong, in its unit; without it values are not judged. `batch`: predictions of this time are scored
    together (10m by default), `close_after` this time (1h by default); labels that arrive later do not count.
    """

    tolerance: Annotated[float, msgspec.Meta(ge=1, le=100)] = 1.0
    on_harm: Choice = "roll-back"
    # Unset fields are not written: the digests of plans that were recorded before these fields existed stay the same.
    error_beyond: Annotated[float, msgspec.Meta(gt=0)] | msgspec.UnsetType = msgspec.UNSET
    batch: Duration | msgspec.UnsetType = msgspec.UNSET
    close_after: Duration | msgspec.UnsetType = msgspec.UNSET

    @property
    def batch_seconds(self) -> float:
        """The time whose predictions are scored together, in seconds."""
        return _BATCH_SECONDS if isinstance(self.batch, msgspec.UnsetType) else seconds(self.batch)

    @property
    def wait_seconds(self) -> float:
        """The time that a batch waits for its labels, in seconds."""
        return _WAIT_SECONDS if isinstance(self.close_after, msgspec.UnsetType) else seconds(self.close_after)

    @property
    def largest_error(self) -> float | None:
        """The largest absolute error of a value that is not wrong; None if the plan states none."""
        return None if isinstance(self.error_beyond, msgspec.UnsetType) else self.error_beyond


class Refusals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Requests that are refused (4xx). `tolerance`: the ratio of odds that is still fine. `floor`: percent of the
    canary's requests that it may refuse before anything counts as harm.
    """

    tolerance: Annotated[float, msgspec.Meta(ge=1, le=100)] = 1.0
    floor: Annotated[float, msgspec.Meta(ge=0, lt=100)] = 0.2
    on_harm: Choice = "roll-back"


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is compared: errors always, the other lines unless they are left out."""

    errors: Errors
    latency: Latency | None = None
    predictions: Predictions | None = None
    labels: Labels | None = None
    # Unset is not written: the digests of plans that were recorded before the line existed stay the same.
    refusals: Refusals | msgspec.UnsetType = msgspec.UNSET


EVERYTHING = Watch(Errors(), Latency(), Predictions(), Labels(), Refusals())


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rollout. Steps and weights are percent of the requests; each of several canaries gets the step's weight.

    With `baseline`, the canary is compared with a second copy of the stable version that gets the same weight, and not
    with the stable itself: two arms that differ in nothing but the version.
    """

    model: ModelName
    stable: VersionName
    canary: VersionName | Canaries
    baseline: bool = False
    steps: Steps = msgspec.field(default_factory=lambda: list(_STEPS))
    minimum_dwell: Duration = "60s"
    look_every: Duration = "15s"
    warm_up: Duration = "60s"
    deadline: Duration = "24h"
    on_deadline: Choice = "hold"
    harm: Harm = Harm()
    safe: Safe = Safe()
    watch: Watch = EVERYTHING

    @property
    def canaries(self) -> list[str]:
        """The canaries, in the plan's order."""
        return [self.canary] if isinstance(self.canary, str) else list(self.canary)

    @property
    def compared(self) -> str:
        """The arm that the canaries are compared with."""
        return names.baseline(self.stable) if self.baseline else self.stable

    @property
    def versions(self) -> list[str]:
        """Every arm: the stable, its baseline if there is one, the canaries."""
        return list(dict.fromkeys((self.stable, self.compared, *self.canaries)))

    @property
    def dwell_seconds(self) -> float:
        """The shortest time of a step, in seconds."""
        return seconds(self.minimum_dwell)

    @property
    def look_seconds(self) -> float:
        """The time between two looks, in seconds."""
        return seconds(self.look_every)

    @property
    def margins(self) -> list[float]:
        """The margin of each step, as a share of the canary's requests."""
        return [percent / 100 for percent in self.safe.margins.errors]

    def weights(self, step: int | None, active: list[str] | None = None) -> dict[str, int]:
        """The weights of a step, or with None before the first; canaries that are not `active` get nothing."""
        given: dict[str, int] = {}
        if step is not None:
            sharing = [*(self.canaries if active is None else active), *([self.compared] if self.baseline else [])]
            given = dict.fromkeys(sharing, self.steps[step])
        return dict.fromkeys(self.versions, 0) | {self.stable: 100 - sum(given.values())} | given

    def shares(self, step: int) -> tuple[float, float]:
        """Of the requests, what the arm that is compared with gets at a step, and what one canary gets."""
        weights = self.weights(step)
        return weights[self.compared] / 100, self.steps[step] / 100

    @property
    def digest(self) -> str:
        """The digest in every record, so that no record continues under another plan."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]


def seconds(duration: Duration) -> float:
    """A duration in seconds: a number of them, or such as `500ms`, `15s`, `2m`, `1.5h`, `7d`.

    Raises:
        ValueError: it is anything else.
    """
    return float(duration) if isinstance(duration, (int, float)) else parse_duration(duration)


def load(path: Path) -> Plan:
    """The plan in a YAML file.

    Raises:
        InvalidPlan: it cannot be read, or as `parse`.
    """
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise InvalidPlan("file", f"cannot be read ({error.strerror})") from error


def parse(text: str | bytes) -> Plan:
    """The plan in a YAML text.

    Raises:
        InvalidPlan: with the field and its line; also for a repeated key.
    """
    try:
        document, node = read_yaml(text)
    except UnreadableDocument as error:
        raise InvalidPlan(error.field, error.problem, error.line) from error
    try:
        return from_mapping(document)
    except InvalidPlan as error:
        raise InvalidPlan(error.field, error.problem, _line(node, error.field)) from error


def from_mapping(document: object) -> Plan:
    """The plan in a document.

    Raises:
        InvalidPlan: with the field.
    """
    try:
        plan = msgspec.convert(document, Plan)
    except msgspec.ValidationError as error:
        raise InvalidPlan(*_problem(str(error))) from error
    for field, problem in _problems(plan):
        raise InvalidPlan(field, problem)
    return _complete(plan)


def to_yaml(plan: Plan) -> str:
    """The plan with everything that it left to the defaults."""
    return yaml.safe_dump(msgspec.to_builtins(plan), sort_keys=False, allow_unicode=True)


def _complete(plan: Plan) -> Plan:
    """The plan with its margins written out."""
    if plan.safe.margins.errors:
        return plan
    errors = [next(margin for weight, margin in _MARGINS if step >= weight) for step in plan.steps]
    return msgspec.structs.replace(plan, safe=msgspec.structs.replace(plan.safe, margins=Margins(errors)))


def _problems(plan: Plan) -> Iterator[tuple[str, str]]:
    yield from _wrong_names(plan)
    yield from _wrong_steps(plan)
    yield from _wrong_durations(plan)


def _wrong_names(plan: Plan) -> Iterator[tuple[str, str]]:
    try:
        check_model_name(plan.model)
    except InvalidName as error:
        yield "model", f"is wrong: {error}"
    for field, versions in (("stable", [plan.stable]), ("canary", plan.canaries)):
        for version in versions:
            try:
                Version.parse(version)
            except InvalidName:
                yield field, f'is {version!r}; a version is MAJOR.MINOR in quotes, such as "1.2"'
    if len({plan.stable, *plan.canaries}) != 1 + len(plan.canaries):
        yield "canary", "must name other versions than stable, each once"


def _wrong_steps(plan: Plan) -> Iterator[tuple[str, str]]:
    if plan.steps != sorted(set(plan.steps)):
        yield "steps", "must be rising percentages from 1 on"
    elif plan.weights(len(plan.steps) - 1)[plan.stable] < 1:
        yield "steps", "must leave the stable version at least 1 percent; promotion comes after the last step"
    margins = plan.safe.margins.errors
    if margins and len(margins) != len(plan.steps):
        yield "safe.margins.errors", f"has {len(margins)} numbers; there are {len(plan.steps)} steps"


def _wrong_durations(plan: Plan) -> Iterator[tuple[str, str]]:
    durations: list[tuple[str, Duration, float]] = [
        ("minimum_dwell", plan.minimum_dwell, 0.0),
        ("look_every", plan.look_every, LEAST_DURATION),
        ("warm_up", plan.warm_up, 0.0),
        ("deadline", plan.deadline, LEAST_DURATION),
    ]
    if plan.watch.latency is not None:
        durations.append(("watch.latency.slack", plan.watch.latency.slack, 0.0))
    labels = plan.watch.labels
    if labels is not None and not isinstance(labels.batch, msgspec.UnsetType):
        durations.append(("watch.labels.batch", labels.batch, 1.0))
    if labels is not None and not isinstance(labels.close_after, msgspec.UnsetType):
        durations.append(("watch.labels.close_after", labels.close_after, 0.0))
    for field, value, least in durations:
        try:
            if seconds(value) < least:
                yield field, f"must be at least {least:g} s"
        except ValueError as error:
            yield field, f"is wrong: {error}"


def _problem(text: str) -> tuple[str, str]:
    """Field and problem, from msgspec's message: `Expected …, got … - at `$.safe.beta``."""
    problem, _, path = text.partition(" - at `$")
    unknown = re.search(r"unknown field `([^`]+)`", problem)
    missing = re.search(r"missing required field `([^`]+)`", problem)
    field = re.sub(r"\[[^\]]*\]", "", path.rstrip("`").lstrip("."))
    named = unknown or missing
    if named:
        field = f"{field}.{named[1]}".lstrip(".")
        return field, "is not a field of a plan" if unknown else "is missing"
    return field or "document", f"is wrong: {problem[0].lower()}{problem[1:]}"


def _line(node: yaml.Node | None, field: str) -> int | None:
    """The line of a field, or of the nearest thing around it that is there."""
    line = None
    for name in field.split("."):
        if not isinstance(node, yaml.MappingNode):
            break
        found = next(((key, value) for key, value in node.value if key.value == name), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
