"""`sabia rollout …`: rollouts by evidence, on this machine or on a cluster."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from sabia.cli.context import (
    FolderOption,
    JsonOption,
    ModelOption,
    NamespaceOption,
    StoreOption,
    choose,
    open_store,
    user,
)
from sabia.cli.errors import CliError
from sabia.platforms import DEFAULT_FOLDER, Platform, RolloutView
from sabia.registry.comparable import require_comparable
from sabia.rollout import events, record, summary
from sabia.rollout.counters import difference
from sabia.rollout.events import Action
from sabia.rollout.forecast import Traffic, forecast
from sabia.rollout.plan import Plan, load, to_yaml
from sabia.terminal import console, log, print_json, print_line, print_table

app = typer.Typer(help="Roll a version out by evidence.", no_args_is_help=True, rich_markup_mode=None)

PlanArgument = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, as YAML.", exists=True, dir_okay=False)]
NameOption = Annotated[str | None, typer.Option("--name", help="Name of the rollout; the newest without it.")]
PrometheusOption = Annotated[
    str | None,
    typer.Option(envvar="SABIA_PROMETHEUS", help="URL of a Prometheus to read counters from; else the servers' pages."),
]
_ALTERNATIVES = (1.0, 2.0, 5.0, 20.0, 100.0)
_MEASURED_SECONDS = 5.0
_REFRESH = 1.0


@app.command()
def plan(
    path: PlanArgument,
    rate: Annotated[
        float | None, typer.Option(min=0.0, help="Requests a second; measured for five seconds without it.")
    ] = None,
    errors: Annotated[
        float | None, typer.Option(min=0.0, max=100.0, help="Percent of them that fail today; measured without it.")
    ] = None,
    store: StoreOption = None,
    folder: FolderOption = DEFAULT_FOLDER,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report before the start what can be detected at this traffic, when, and what cannot.

    Where a store is named, versions that cannot be compared are refused as at the start.
    """
    rules = load(path)
    if store is not None:
        require_comparable(open_store(store), rules.model, rules.versions)
    measured = (
        None if rate is not None and errors is not None else _measure(choose(namespace, folder, model=rules.model))
    )
    traffic = Traffic(
        rate if rate is not None else measured.rate if measured else 0.0,
        errors / 100 if errors is not None else measured.errors if measured else 0.0,
    )
    rows = [
        _expectation(rules, traffic, min(max(traffic.errors, 0.0001) * ratio, 1.0), ratio) for ratio in _ALTERNATIVES
    ]
    rows.append(_expectation(rules, traffic, 1.0, math.inf))
    if as_json:
        print_json({"plan": rules, "traffic": {"rate": traffic.rate, "errors": traffic.errors}, "expected": rows})
        return
    print_line(to_yaml(rules))
    print_line(f"at {traffic.rate:g} requests a second, of which {traffic.errors:.3%} fail:")
    print_table(
        ["the canary fails", "then it is", "after", "extra failures", "at weight"],
        [
            [
                row["canary"],
                row["end"] or "not decided in time",
                row["after"],
                f"{row['failed']:.1f}",
                row["weight"],
            ]
            for row in rows
        ],
    )


def _expectation(rules: Plan, traffic: Traffic, canary: float, ratio: float) -> dict[str, Any]:
    found = forecast(rules, traffic, canary)
    name = f"{canary:.3%}" + ("" if math.isinf(ratio) else f" (x{ratio:g})")
    return {
        "canary": name,
        "end": found.end,
        "after": "-" if math.isinf(found.seconds) else summary.duration(found.seconds),
        "seconds": None if math.isinf(found.seconds) else found.seconds,
        "failed": found.failed,
        "weight": f"{found.step} %",
    }


def _measure(platform: Platform) -> Traffic:
    """Rate and failures of what is served, over a few seconds."""
    log(f"measuring the traffic for {_MEASURED_SECONDS:g} s")
    source = platform.source()
    before = source.scrape()
    time.sleep(_MEASURED_SECONDS)
    after = source.scrape()
    arms = [difference(before, after, version) for version in {*after.arms, *after.gateway}]
    requests, failed = sum(arm.n for arm in arms), sum(arm.errors for arm in arms)
    return Traffic(requests / _MEASURED_SECONDS, failed / requests if requests else 0.0)


@app.command()
def start(
    path: PlanArgument,
    store: StoreOption = None,
    folder: FolderOption = DEFAULT_FOLDER,
    namespace: NamespaceOption = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Carry it out in this process.")] = False,
    prometheus: PrometheusOption = None,
    name: Annotated[str | None, typer.Option("--name", help="Its name; made of its versions without it.")] = None,
) -> None:
    """Start a rollout: an engine on this machine, or a `Rollout` resource on a cluster."""
    rules = load(path)
    platform = choose(namespace, folder, store=store, model=rules.model)
    started = platform.start_rollout(rules, name=name, actor=user())
    print_line(f"rollout {started}: {rules.stable} -> {', '.join(rules.canaries)}")
    platform.carry_out(started, foreground=foreground, prometheus=prometheus)
    if foreground:
        print_line(platform.rollout(started).summary)


@app.command()
def run(
    name: NameOption = None,
    store: StoreOption = None,
    model: ModelOption = None,
    folder: FolderOption = DEFAULT_FOLDER,
    namespace: NamespaceOption = None,
    prometheus: PrometheusOption = None,
) -> None:
    """Continue a rollout in this process, from the end of its record: after a crash, or instead of another engine."""
    platform = choose(namespace, folder, store=store, model=model)
    platform.carry_out(name, foreground=True, prometheus=prometheus)
    print_line(platform.rollout(name).summary)


@app.command()
def status(
    why: Annotated[bool, typer.Option("--why", help="Everything that the last decision is based on.")] = False,
    name: NameOption = None,
    store: StoreOption = None,
    model: ModelOption = None,
    folder: FolderOption = DEFAULT_FOLDER,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the state of a rollout in one sentence; with --why, in words and numbers."""
    view = choose(namespace, folder, store=store, model=model).rollout(name)
    if as_json:
        print_json(view.facts())
        return
    weights = ", ".join(f"{version} {weight} %" for version, weight in view.weights.items())
    print_line(f"{view.name} ({view.model}): {view.label}; {weights}")
    for line in view.details if why else [view.summary]:
        print_line(line)


@app.command()
def watch(
    name: NameOption = None,
    store: StoreOption = None,
    model: ModelOption = None,
    folder: FolderOption = DEFAULT_FOLDER,
    namespace: NamespaceOption = None,
) -> None:
    """Follow a rollout until it ends."""
    platform = choose(namespace, folder, store=store, model=model)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            view = platform.rollout(name)
            live.update(_table(view), refresh=True)
            if view.ended:
                return
            time.sleep(_REFRESH)


def _table(view: RolloutView) -> Table:
    table = Table(title=f"{view.name} ({view.model}): {view.label}", title_justify="left", show_header=False)
    for version, weight in view.weights.items():
        table.add_row(version, f"{'█' * round(weight / 4):<25} {weight} %")
    for line in view.details:
        table.add_row("", line)
    table.add_row("", f"last look {view.at}", style="dim")
    return table


def _act(action: Action) -> Callable[..., None]:
    def act(
        name: NameOption = None,
        version: Annotated[str | None, typer.Option("--version", help="The canary, in a rollout with several.")] = None,
        store: StoreOption = None,
        model: ModelOption = None,
        folder: FolderOption = DEFAULT_FOLDER,
        namespace: NamespaceOption = None,
    ) -> None:
        platform = choose(namespace, folder, store=store, model=model)
        acted = platform.act(name, action, actor=user(), version=version)
        print_line(f"{acted}: {action}; it takes effect within seconds")

    return act


for _action, _help in (
    ("pause", "Keep the weights as they are. Harm still rolls back."),
    ("resume", "Continue, and accept the reason for the hold."),
    ("promote", "Give the canary all requests now, whatever the evidence."),
    ("abort", "Give the stable version all requests back now."),
):
    app.command(_action, help=_help)(_act(_action))  # type: ignore[arg-type]


@app.command()
def replay(
    name: NameOption = None,
    store: StoreOption = None,
    model: ModelOption = None,
    folder: FolderOption = DEFAULT_FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Compute every state again from the record. Exit code 1 when one differs in any bit."""
    found = record.latest(choose(None, folder, store=store).store(), model, name)
    replayed = list(record.replay(found))
    different = [item.entry.seq for item in replayed if not item.same]
    if as_json:
        end = replayed[-1].entry.summary
        print_json({"name": found.name, "records": len(replayed), "different": different, "end": end})
    else:
        print_table(["seq", "at", "phase", "event", "summary"], _rows(replayed))
        print_line(f"{found.name}: {len(replayed)} entries, {len(different)} computed differently")
    if different:
        raise CliError(f"Entry {different[0]} is computed differently now.")


def _rows(replayed: list[record.Replayed]) -> Iterator[list[object]]:
    for item in replayed:
        entry = item.entry
        kind = events.kind(entry.event)
        yield [
            entry.seq,
            entry.at,
            summary.label(entry.state),
            kind if item.same else f"{kind}: DIFFERENT",
            entry.summary,
        ]
