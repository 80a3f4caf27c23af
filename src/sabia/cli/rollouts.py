"""`sabia rollout …`: rollouts by evidence, here or on a cluster."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.live import Live
from rich.table import Table

from sabia.cli.context import (
    FOLDER,
    FolderOption,
    JsonOption,
    ModelOption,
    NamespaceOption,
    StoreOption,
    open_store,
    user,
)
from sabia.cli.errors import CliError
from sabia.cli.output import console, print_json, print_table, say
from sabia.cli.stack import Stopped, stop_on_sigterm
from sabia.kubernetes import resources
from sabia.kubernetes.cluster import Cluster
from sabia.kubernetes.prometheus import Prometheus
from sabia.local import counters as stack_metrics
from sabia.local import stack as stacks
from sabia.local.split import EnvoySplit
from sabia.rollout import engine, events, record, summary
from sabia.rollout.events import Action
from sabia.rollout.forecast import Traffic, forecast
from sabia.rollout.plan import Plan, parse, to_yaml
from sabia.rollout.ports import Source
from sabia.rollout.record import Head, Record
from sabia.store.objects import Store

app = typer.Typer(help="Roll a version out by evidence.", no_args_is_help=True, rich_markup_mode=None)

PlanArgument = Annotated[Path, typer.Argument(metavar="PLAN", help="The plan, as YAML.", exists=True, dir_okay=False)]
NameOption = Annotated[
    str | None, typer.Option("--name", help="Which rollout; without it, the newest (on a cluster: the only one).")
]
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
    folder: FolderOption = FOLDER,
    as_json: JsonOption = False,
) -> None:
    """Say before the start what can be found at this traffic and when, and what cannot."""
    rules = parse(path.read_text())
    measured = None if rate is not None and errors is not None else _measure(folder)
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
    console.print(to_yaml(rules), markup=False)
    console.print(f"at {traffic.rate:g} requests a second, of which {traffic.errors:.3%} fail:")
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


def _measure(folder: Path) -> Traffic:
    """Rate and failures of what runs here, over a few seconds."""
    state = stacks.running(folder)
    gateway = stacks.gateway_of(folder, state)
    say(f"measuring the traffic for {_MEASURED_SECONDS:g} s")
    before = gateway.outcomes()
    time.sleep(_MEASURED_SECONDS)
    after = gateway.outcomes()
    n, failed = (
        sum(counts[at] for counts in after.values()) - sum(counts[at] for counts in before.values()) for at in (0, 1)
    )
    return Traffic(n / _MEASURED_SECONDS, failed / n if n else 0.0)


@app.command()
def start(
    path: PlanArgument,
    store: StoreOption = None,
    folder: FolderOption = FOLDER,
    namespace: NamespaceOption = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Carry it out in this process.")] = False,
    prometheus: PrometheusOption = None,
    name: Annotated[str | None, typer.Option("--name", help="On a cluster: the name of the Rollout.")] = None,
) -> None:
    """Start a rollout: an engine on this machine, or a `Rollout` resource on a cluster."""
    rules = parse(path.read_text())
    if namespace is not None:
        made = resources.create(Cluster.connect(namespace), rules, name)
        console.print(f"rollout {made}: {rules.stable} -> {', '.join(rules.canaries)}")
        return
    opened, split = open_store(store, folder=folder), _split(folder)
    began = engine.start(opened, rules, split.weights(), actor=user())
    console.print(f"rollout {began.name}: {rules.stable} -> {', '.join(rules.canaries)}")
    if foreground:
        _carry_out(began, folder, prometheus)
        return
    with (folder / "rollout.log").open("ab") as log:
        command = [sys.executable, "-P", "-m", "sabia", "rollout", "run", "--folder", str(folder), "--name", began.name]
        subprocess.Popen(  # noqa: S603
            [*command, *(["--store", store] if store else []), *(["--prometheus", prometheus] if prometheus else [])],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@app.command()
def run(
    name: NameOption = None,
    store: StoreOption = None,
    model: ModelOption = None,
    folder: FolderOption = FOLDER,
    prometheus: PrometheusOption = None,
) -> None:
    """Carry a rollout on in this process, from where its record ends: after a crash, or instead of another engine."""
    _carry_out(record.latest(open_store(store, folder=folder), model, name), folder, prometheus)


def _carry_out(which: Record, folder: Path, prometheus: str | None) -> None:
    stop_on_sigterm()
    state, rules = stacks.running(folder), which.plan()
    source: Source = stack_metrics.pages(stacks.gateway_of(folder, state), state)
    if prometheus is not None:
        source = Prometheus(prometheus, rules.model, rules.versions)
    carried = engine.Engine(which, _split(folder), source, report=say)
    try:
        # Without its stack there is nothing to carry out; the record waits for the next engine.
        carried.run(lambda: not stacks.is_held(folder))
    except (Stopped, KeyboardInterrupt):
        say("stopped; the record keeps where it stands")
        return
    console.print(carried.head.entry.summary, markup=False, soft_wrap=True)


def _split(folder: Path) -> EnvoySplit:
    state = stacks.running(folder)
    return EnvoySplit.of(stacks.gateway_of(folder, state), state)


@dataclass(frozen=True, slots=True)
class Shown:
    """A rollout as a person sees it, from its record or from its resource."""

    name: str
    model: str
    phase: str
    conditions: list[str]
    weights: dict[str, int]
    summary: str
    details: list[str]
    eta: float | None
    at: str
    ended: bool

    @property
    def label(self) -> str:
        """The phase with its conditions, such as `Stepping (Paused)`."""
        return f"{self.phase} ({', '.join(self.conditions)})" if self.conditions else self.phase

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "name": self.name,
            "model": self.model,
            "phase": self.phase,
            "conditions": self.conditions,
            "weights": self.weights,
            "summary": self.summary,
            "details": self.details,
            "eta": self.eta,
            "at": self.at,
        }


def _shown(which: Record, head: Head) -> Shown:
    state = head.entry.state
    return Shown(
        which.name,
        which.model,
        state.phase,
        list(summary.conditions(state)),
        state.confirmed or state.desired,
        head.entry.summary,
        summary.explain(head.plan, state, head.entry.eta),
        head.entry.eta,
        head.entry.at,
        state.ended,
    )


def _look(
    store: str | None, namespace: str | None, model: str | None, name: str | None, *, opened: Store | None = None
) -> Shown:
    if namespace is None:
        which = record.latest(opened or open_store(store), model, name)
        return _shown(which, which.head())
    found = resources.get(Cluster.connect(namespace), model, name)
    return Shown(
        found.name,
        found.plan.model,
        found.phase,
        [kind for kind in found.conditions if kind in get_args(summary.Condition)],
        found.weights,
        found.summary,
        found.details,
        found.eta,
        found.at,
        found.ended,
    )


@app.command()
def status(
    why: Annotated[bool, typer.Option("--why", help="Everything that the last decision rests on.")] = False,
    name: NameOption = None,
    store: StoreOption = None,
    model: ModelOption = None,
    namespace: NamespaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show where a rollout stands, in a sentence; with --why, in words and numbers."""
    found = _look(store, namespace, model, name)
    if as_json:
        print_json(found.facts())
        return
    weights = ", ".join(f"{version} {weight} %" for version, weight in found.weights.items())
    console.print(f"{found.name} ({found.model}): {found.label}; {weights}", markup=False, soft_wrap=True)
    for line in found.details if why else [found.summary]:
        console.print(line, markup=False, soft_wrap=True)


@app.command()
def watch(
    name: NameOption = None, store: StoreOption = None, model: ModelOption = None, namespace: NamespaceOption = None
) -> None:
    """Watch a rollout until it is over, in a view that is drawn anew as it goes."""
    opened = open_store(store) if namespace is None else None
    with Live(console=console, auto_refresh=False) as live:
        while True:
            found = _look(store, namespace, model, name, opened=opened)
            live.update(_view(found), refresh=True)
            if found.ended:
                return
            time.sleep(_REFRESH)


def _view(found: Shown) -> Table:
    table = Table(title=f"{found.name} ({found.model}): {found.label}", title_justify="left", show_header=False)
    for version, weight in found.weights.items():
        table.add_row(version, f"{'█' * round(weight / 4):<25} {weight} %")
    for line in found.details:
        table.add_row("", line)
    table.add_row("", f"last look {found.at}", style="dim")
    return table


def _decide(verb: Action) -> Callable[..., None]:
    def decide(
        name: NameOption = None,
        version: Annotated[str | None, typer.Option("--version", help="Which canary, where there are several.")] = None,
        store: StoreOption = None,
        model: ModelOption = None,
        namespace: NamespaceOption = None,
    ) -> None:
        if namespace is not None:
            cluster = Cluster.connect(namespace)
            done = resources.act(cluster, model, name, verb, actor=user(), version=version)
            console.print(f"{done}: {verb}")
            return
        which = record.latest(open_store(store), model, name)
        engine.act(which, verb, actor=user(), version=version)
        console.print(f"{which.name}: {verb}; the engine takes it from the record within a second")

    return decide


for _verb, _help in (
    ("pause", "Keep the weights as they are. Harm still rolls back."),
    ("resume", "Go on, and accept what held it."),
    ("promote", "Give the canary everything now, whatever is known."),
    ("abort", "Give the stable version everything back now."),
):
    app.command(_verb, help=_help)(_decide(_verb))  # type: ignore[arg-type]


@app.command()
def replay(
    name: NameOption = None, store: StoreOption = None, model: ModelOption = None, as_json: JsonOption = False
) -> None:
    """Decide everything again from the record. Exit code 1 when anything comes out otherwise, bit for bit."""
    which = record.latest(open_store(store), model, name)
    found = list(record.replay(which))
    different = [item.entry.seq for item in found if not item.same]
    if as_json:
        print_json({"name": which.name, "records": len(found), "different": different, "end": found[-1].entry.summary})
    else:
        print_table(["seq", "at", "phase", "event", "summary"], _rows(found))
        console.print(f"{which.name}: {len(found)} records, {len(different)} decided otherwise")
    if different:
        raise CliError(f"Record {different[0]} was decided otherwise than it is now.")


def _rows(found: list[record.Replayed]) -> Iterator[list[object]]:
    for item in found:
        entry = item.entry
        kind = events.kind(entry.event)
        yield [
            entry.seq,
            entry.at,
            summary.label(entry.state),
            kind if item.same else f"{kind}: DIFFERENT",
            entry.summary,
        ]
