"""`python -m benchmarks.rollouts.servers WHAT`: the real engine on real servers, under load and under fire.

- `kills`: engines that are killed (SIGKILL) at random points of whole rollouts, their records on a real object store.
- `cycles`: promotions and rollbacks on a real Envoy under load; every failed request is looked at.
- `identical`: rollouts of a version that is the stable one, one replica against three, under load.

Figures are printed as JSON and kept in build/benchmarks.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.rollouts import figures
from sabia.contract.names import FAULT_HEADER, PIN_HEADER
from sabia.local import counters as stack_metrics
from sabia.local.composition import Serving
from sabia.local.lifecycle import train_missing
from sabia.local.objectstore import Access, ObjectStore
from sabia.local.split import EnvoySplit
from sabia.local.stack import Stack
from sabia.local.state import running
from sabia.rollout import engine
from sabia.rollout.clock import SystemClock
from sabia.rollout.counters import Counters, Scrape
from sabia.rollout.plan import Plan, from_mapping
from sabia.rollout.record import Record, replay
from sabia.store.errors import StoreError
from sabia.store.objects import Store
from sabia.training.datasets import load

MODEL = "breast-cancer"
STABLE, CANARY, BROKEN = "1.2", "2.0", "2.1"
OUT = Path("build/benchmarks")

# -- load ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Seen:
    """What clients got: calls by status, version and fault."""

    answers: Counter[tuple[int, str, str]] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Every call."""
        return sum(self.answers.values())

    @property
    def failed(self) -> int:
        """Requests that failed without an injected fault."""
        return sum(count for (status, _, fault), count in self.answers.items() if status != 200 and not fault)


def _client(port: int, seed: int, stop: Any, results: Any) -> None:
    """Call without a pause until told to stop; no call is retried."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rows = load("sklearn:breast_cancer").features.tolist()
    bodies = [json.dumps({"instances": [row]}) for row in rows]
    chance, found = random.Random(seed), Seen()  # noqa: S311
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"content-type": "application/json"}
    while not stop.is_set():
        try:
            connection.request("POST", f"/v1/models/{MODEL}:predict", chance.choice(bodies), headers)
            answer = connection.getresponse()
            answer.read()
            facts = answer.status, answer.headers.get(PIN_HEADER, ""), answer.headers.get(FAULT_HEADER, "")
        except (OSError, HTTPException) as error:
            facts = 0, type(error).__name__, ""
            connection.close()
        found.answers[facts] += 1
    results.put(found)


@contextmanager
def calling(port: int, clients: int = 3) -> Iterator[Seen]:
    """Load from processes of their own; what they got is complete when this is left."""
    context = multiprocessing.get_context("spawn")
    stop, results, seen = context.Event(), context.Queue(), Seen()
    processes = [context.Process(target=_client, args=(port, seed, stop, results)) for seed in range(clients)]
    for process in processes:
        process.start()
    try:
        yield seen
    finally:
        stop.set()
        for _ in processes:
            seen.answers.update(results.get(timeout=30).answers)
        for process in processes:
            process.join()


# -- cycles and identical versions -----------------------------------------------------------------------------------


def cycles(count: int) -> dict[str, Any]:
    """Promotions and as many rollbacks, alternating, under load."""
    plan = {
        "model": MODEL,
        "steps": [10, 50],
        "minimum_dwell": 0,
        "look_every": "200ms",
        "warm_up": 0,
        "safe": {"margins": {"errors": [20, 20]}},
        "watch": {"errors": {}},
    }
    ends: Counter[str] = Counter()
    with _stack(Serving(extra=[BROKEN], faults={BROKEN: "errors=0.3"})) as (stack, store):
        split, source = _ports(stack)
        stable, other = STABLE, CANARY
        split.set_weights({stable: 100})
        with calling(stack.gateway.port if stack.gateway else 0) as seen:
            for number in range(count):
                for canary in (BROKEN, other):
                    end, _ = _rolled(store, split, source, plan, stable, canary)
                    ends[f"{'broken' if canary == BROKEN else 'good'}: {end}"] += 1
                stable, other = other, stable
                _progress("cycles", number + 1, count)
    return {
        "rollouts": dict(ends),
        "requests": seen.total,
        "failed, not by a fault that was asked for": seen.failed,
        "answers": {" ".join(map(str, key)): n for key, n in sorted(seen.answers.items())},
    }


def identical(count: int) -> dict[str, Any]:
    """Rollouts of the stable's own content under another number: one replica against three, to 50 %."""
    plan = {
        "model": MODEL,
        "steps": [5, 10, 25, 50],
        "minimum_dwell": "1s",
        "look_every": "250ms",
        "warm_up": "1s",
        "deadline": "60s",
    }
    same, ends, reasons = "9.9", Counter[str](), []
    with _stack(Serving(extra=[same], replicas={STABLE: 3}), same=same) as (stack, store):
        split, source = _ports(stack)
        with calling(stack.gateway.port if stack.gateway else 0) as seen:
            for number in range(count):
                split.set_weights({STABLE: 100})
                end, says = _rolled(store, split, source, plan, STABLE, same)
                ends[end] += 1
                if end != "Promoted":
                    reasons.append(says)
                _progress("identical", number + 1, count)
    harmful = ends["RolledBack"]
    return {
        "rollouts": dict(ends),
        "called harmful": figures.share(harmful, count),
        "requests": seen.total,
        "failed": seen.failed,
        "reasons": reasons,
    }


@contextmanager
def _stack(serving: Serving, *, same: str | None = None) -> Iterator[tuple[Stack, Store]]:
    """A platform in a folder of its own; `same` serves what the stable serves, under its own number."""
    folder = Path(tempfile.mkdtemp(prefix="rollouts-"))
    try:
        with Stack(folder, serving=serving) as stack:
            if same is not None:
                stable = next(spec for spec in stack.specs.values() if spec.version == STABLE)
                stack.specs = {
                    service: replace(spec, storage_uri=stable.storage_uri, args=[f"--model_name={MODEL}"])
                    if spec.version == same
                    else spec
                    for service, spec in stack.specs.items()
                }
            store = stack.start_store().open()
            train_missing_but(stack, store, same)
            stack.start_predictors()
            stack.start_gateway()
            yield stack, store
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def train_missing_but(stack: Stack, store: Store, same: str | None) -> None:
    """Publish the versions that are served, but the one that is another's copy."""
    whole = stack.specs
    stack.specs = {service: spec for service, spec in whole.items() if spec.version != same}
    train_missing(stack, store)
    stack.specs = whole


def _ports(stack: Stack) -> tuple[EnvoySplit, Any]:
    if stack.gateway is None:
        raise RuntimeError("the gateway comes first")
    state = running(stack.folder)
    return EnvoySplit.from_state(stack.gateway, state), stack_metrics.pages(stack.gateway, state)


def _rolled(
    store: Store, split: EnvoySplit, source: Any, plan: dict[str, Any], stable: str, canary: str
) -> tuple[str, str]:
    rules = from_mapping({**plan, "stable": stable, "canary": canary})
    began = engine.start(store, rules, split.weights(), actor="benchmark")
    carried = engine.Engine(began, split, source)
    started = time.monotonic()
    state = carried.run(lambda: time.monotonic() - started > 120)
    return state.phase, carried.head.entry.summary


# -- kills -----------------------------------------------------------------------------------------------------------


class World:
    """Two versions behind weights in the parent's memory: what an engine acts on outlives every engine.

    Counts are expectations, without chance: two engines that see the same decide the same.
    """

    def __init__(self, canary_errors: float) -> None:
        self.weights = {STABLE: 100, CANARY: 0}
        self.moves = [dict(self.weights)]
        self._errors = {STABLE: 0.001, CANARY: canary_errors}
        self._mean = dict.fromkeys(self.weights, 0.0)

    def ask(self, verb: str, argument: Any) -> Any:
        """Answer a call of the engine's."""
        if verb == "weights":
            return dict(self.weights)
        if verb == "move":
            self.weights = dict(argument)
            if self.weights != self.moves[-1]:
                self.moves.append(dict(self.weights))
            return None
        if verb == "wait":
            for version, weight in self.weights.items():
                self._mean[version] += argument * 1.0 * weight
            return None
        return {v: (int(mean), int(mean * self._errors[v])) for v, mean in self._mean.items()}


class Remote:
    """The world as the engine's split, source and clock."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _ask(self, verb: str, argument: Any = None) -> Any:
        self._connection.send((verb, argument))
        return self._connection.recv()

    def weights(self) -> dict[str, int]:
        """See `Split.weights`."""
        found: dict[str, int] = self._ask("weights")
        return found

    def set_weights(self, weights: Mapping[str, int]) -> dict[str, int]:
        """See `Split.set_weights`."""
        self._ask("move", dict(weights))
        return self.weights()

    def mirror(self) -> str | None:
        """See `Split.mirror`."""
        return None

    def set_mirror(self, version: str | None) -> None:
        """See `Split.set_mirror`."""

    def request_counts(self) -> dict[str, int]:
        """See `Split.request_counts`."""
        return {version: n for version, (n, _) in self._ask("scrape").items()}

    def scrape(self) -> Scrape:
        """See `Source.scrape`."""
        return Scrape({version: {"one": Counters(n, x)} for version, (n, x) in self._ask("scrape").items()})

    def now(self) -> float:
        """See `Clock.now`."""
        return self._seconds

    def utc(self) -> Any:
        """See `Clock.utc`."""
        return SystemClock().utc()

    def wait(self, seconds: float) -> None:
        """See `Clock.wait`."""
        self._ask("wait", seconds)
        self._seconds += seconds

    _seconds = 0.0


def _engine(connection: Connection, access: Access, plan: Plan, name: str) -> None:
    """One engine, from wherever the record ends; it tells its parent of every entry that the store took."""
    remote, store = Remote(connection), access.open()
    record = Record(store, plan.model, name)
    try:
        if record.entry(0) is None:
            engine.start(store, plan, remote.weights(), actor="benchmark", name=name)
        told = engine.Engine(
            record,
            remote,
            remote,
            clock=remote,
            on_entry=lambda head: connection.send(("written", (head.entry.seq, head.digest))),
        )
        told.run()
        connection.send(("end", told.state.phase))
    finally:
        connection.close()


def kills(count: int) -> dict[str, Any]:
    """Kill engines this many times, over whole rollouts of good and of broken versions."""
    chance = random.Random(1)  # noqa: S311
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    (folder / "logs").mkdir()
    objects = ObjectStore(folder / "objects", folder / "logs")
    facts: Counter[str] = Counter()
    try:
        _in_a_child(_await, objects.access)
        expected = {
            errors: _one(objects.access, errors, f"reference-{errors}", chance, kill=False)[1]
            for errors in (0.001, 0.05)
        }
        while facts["kills"] < count:
            errors = 0.001 if facts["rollouts"] % 2 == 0 else 0.05
            killed, moves, written, name = _one(objects.access, errors, f"r{facts['rollouts']:06d}", chance, kill=True)
            facts["rollouts"] += 1
            facts["kills"] += killed
            # A killed engine looks at other times, so a rollback may come a step sooner or later; its end is the same.
            facts["different ends"] += moves[-1] != expected[errors][-1]
            facts["weights out of order"] += not _in_order(moves)
            facts["double promotions"] += sum(move[CANARY] == 100 for move in moves) > 1
            for problem, number in _in_a_child(_verified, objects.access, name, written).items():
                facts[problem] += number
            _progress("kills", facts["kills"], count)
    finally:
        objects.process.stop(seconds=10)
        shutil.rmtree(folder, ignore_errors=True)
    return dict(facts)


def _in_order(moves: list[dict[str, int]]) -> bool:
    """Whether the weights were those of the plan's steps, one after the other, and then everything or nothing."""
    steps = [move[CANARY] for move in moves[1:-1]]
    return steps == [1, 5, 10, 25, 50][: len(steps)] and moves[-1][CANARY] in (0, 100)


def _one(
    access: Access, errors: float, name: str, chance: random.Random, *, kill: bool
) -> tuple[int, list[dict[str, int]], dict[int, str], str]:
    """Run one rollout and kill its engine at random: kills, weights in order, entries reported as written, its end."""
    plan = from_mapping({"model": MODEL, "stable": STABLE, "canary": CANARY, "watch": {"errors": {}}})
    world, context, killed, written = World(errors), multiprocessing.get_context("fork"), 0, dict[int, str]()
    while True:
        ours, theirs = context.Pipe()
        child = context.Process(target=_engine, args=(theirs, access, plan, name))
        child.start()
        theirs.close()
        deadline = time.monotonic() + (chance.expovariate(1 / 0.15) if kill else 120.0)
        ended = _serve(ours, world, written, deadline)
        if not ended:
            os.kill(child.pid or 0, signal.SIGKILL)
            killed += 1
        child.join()
        ours.close()
        if ended:
            return killed, world.moves, written, name


def _serve(connection: Connection, world: World, written: dict[int, str], deadline: float) -> bool:
    """Answer an engine until it has ended (True) or its time is over (False)."""
    try:
        while (left := deadline - time.monotonic()) > 0:
            if not connection.poll(left):
                return False
            verb, argument = connection.recv()
            if verb == "end":
                return True
            if verb == "written":
                written[argument[0]] = argument[1]
            else:
                connection.send(world.ask(verb, argument))
    except (EOFError, BrokenPipeError, ConnectionResetError) as error:
        raise RuntimeError("an engine exited without being killed") from error
    return False


def _await(access: Access) -> None:
    """Wait until the object store answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            list(access.open().list("nothing/"))
        except StoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _verified(access: Access, name: str, written: dict[int, str]) -> dict[str, int]:
    """What the store has of a record."""
    record = Record(access.open(), MODEL, name)
    digests = {entry.seq: digest for entry, digest in record.entries()}
    different = sum(not item.same for item in replay(record))
    lost = sum(digests.get(seq) != digest for seq, digest in written.items())
    return {"records": len(digests), "lost or changed records": lost, "records decided otherwise": different}


def _in_a_child(call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns in a forked process: the store's client starts threads, and these do not survive a fork, so
    that the process that forks engines must never use it itself.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send(call(*arguments)))
    child.start()
    theirs.close()
    found = ours.recv()
    child.join()
    return found


def _progress(what: str, done: int, count: int) -> None:
    if done % max(count // 20, 1) == 0:
        print(f"{what}: {done} of {count}", file=sys.stderr, flush=True)


KINDS = {"kills": (kills, 1000), "cycles": (cycles, 100), "identical": (identical, 200)}


def main() -> int:
    """Run one kind, print and keep its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(KINDS))
    parser.add_argument("--count", type=int, help="how many (kills: 1000; cycles: 100 of each; identical: 200)")
    arguments = parser.parse_args()
    call, default = KINDS[arguments.what]
    started = time.monotonic()
    found = call(arguments.count or default) | {"seconds": round(time.monotonic() - started, 1)}
    OUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    (OUT / f"{arguments.what}.json").write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
