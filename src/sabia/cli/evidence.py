"""`sabia evidence`: the rule of a rollout, applied to a history of counters, one JSON line for each look."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer

from sabia.cli.errors import CliError
from sabia.contract.durations import EDGES
from sabia.rollout import summary
from sabia.rollout.counters import BUCKETS, Arm
from sabia.rollout.evaluation import Conclusion, Evaluation
from sabia.rollout.plan import Plan, from_mapping, load
from sabia.terminal import console, print_table

JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON line for each line that was read.")]


# Up to a million million: all of them together stay exact in a double.
Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class ArmLine(msgspec.Struct, forbid_unknown_fields=True):
    """One arm between two looks: requests that were not refused, those that failed, those that were refused beside
    them, times by bucket, predictions by bin, truths.
    """

    n: Count
    errors: Count = 0
    refused: Count = 0
    latency: list[Count] | None = None
    bins: list[Count] | None = None
    labels: Count = 0
    wrong: Count = 0


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One look: when, in seconds or as a date, and what happened in both arms since the look before."""

    stable: ArmLine
    canary: ArmLine
    t: float | str | None = None


def evidence(
    source: Annotated[
        str, typer.Argument(metavar="[FILE]", help="JSON lines of counter differences; - reads standard input.")
    ] = "-",
    plan: Annotated[
        Path | None, typer.Option(help="The plan; without it, its defaults.", exists=True, dir_okay=False)
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=1, help="Whose margin makes it safe; the last step's without it.")
    ] = None,
    as_json: JsonLines = False,
) -> None:
    """Compute the verdict on a history of counters: harm, safe or undecided, after each line.

    A line is {"t": …, "stable": {"n": …, "errors": …, "latency": […], "bins": […]}, "canary": {…}}: what both arms
    counted since the line before. `latency` and `bins` may be absent. Latency in as many buckets as the predictor has
    is taken to be in those; in other buckets the plan's tolerance of times cannot be applied, and none is.
    """
    rules = load(plan) if plan else from_mapping({"model": "history", "stable": "1.0", "canary": "2.0"})
    if step is not None and step > len(rules.steps):
        raise CliError(f"The plan has {len(rules.steps)} steps.", 2)
    judge, last, rows = Evaluation.start(rules, (step or len(rules.steps)) - 1), None, 0
    for number, text in enumerate(_lines(source), 1):
        if not text.strip():
            continue
        line = _line(text, number)
        judge = judge.update(*_arms(line, number))
        last, rows = judge.conclusion, rows + 1
        if as_json:
            print(msgspec.json.encode({"t": line.t, **_facts(rules, judge, last)}).decode())
    if last is None:
        raise CliError("There was no line to read.", 2)
    if not as_json:
        _show(rules, judge, last, rows)


def _lines(source: str) -> Iterable[bytes]:
    if source == "-":
        return sys.stdin.buffer
    try:
        return Path(source).read_bytes().splitlines()
    except OSError as error:
        raise CliError(f"{source} cannot be read ({error.strerror}).", 2) from error


def _line(text: bytes, number: int) -> Line:
    try:
        return msgspec.json.decode(text, type=Line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CliError(f"Line {number}: {error}.", 2) from error


def _arms(line: Line, number: int) -> tuple[Arm, Arm, bool]:
    """Both arms, and whether times are in our own buckets."""
    for name, arm in (("stable", line.stable), ("canary", line.canary)):
        if arm.errors > arm.n or arm.wrong > arm.labels:
            raise CliError(f"Line {number}: {name} has more failures than requests, or more wrong than labels.", 2)
    lengths = {len(arm.latency) for arm in (line.stable, line.canary) if arm.latency is not None}
    if len(lengths) > 1 or (lengths and max(lengths) > BUCKETS):
        raise CliError(f"Line {number}: latency must have the same buckets in both arms, at most {BUCKETS}.", 2)
    stable, canary = (_arm(arm, str(number)) for arm in (line.stable, line.canary))
    return stable, canary, not lengths or lengths == {len(EDGES) + 1}


def _arm(line: ArmLine, batch: str) -> Arm:
    times = np.zeros(BUCKETS, dtype=np.int64)
    times[: len(line.latency or [])] = line.latency or []
    bins = {str(at): count for at, count in enumerate(line.bins or [])}
    labels = {batch: (line.labels, line.wrong)} if line.labels else {}
    return Arm(n=line.n, errors=line.errors, decision=times, bins=bins, labels=labels, refused=line.refused)


def _facts(plan: Plan, judge: Evaluation, conclusion: Conclusion) -> dict[str, Any]:
    limits = {"harm": 1 / plan.harm.alpha, "safe": 1 / plan.safe.beta}
    return {
        "verdict": conclusion.verdict,
        "evidence": {name: _number(log_e) for name, log_e in conclusion.lines.items()},
        "harm": _number(conclusion.harm),
        "safe": _number(conclusion.safe),
        "limits": limits,
        "summary": conclusion.summary,
        "looks": judge.looks,
    }


def _number(log_e: float) -> float:
    """Evidence as odds to 1; what no double can hold stays the largest that it can."""
    return float(np.exp(min(log_e, 700.0)))


def _show(plan: Plan, judge: Evaluation, conclusion: Conclusion, rows: int) -> None:
    columns = ["compared", "evidence", "seen"]
    print_table(
        columns,
        [
            [name, f"{summary.odds(log_e)} to 1", summary.describe_line(plan, judge.lines, name)]
            for name, log_e in conclusion.lines.items()
        ],
    )
    console.print(f"after {rows} looks: {conclusion.verdict}. {conclusion.summary}", markup=False, soft_wrap=True)
