"""`python -m benchmarks.serving.survival`: what a well-behaved client and the memory see of each attack.

The server has one core, the attacker and the client share the other. The client sends requests at a fixed rate, and its
latency counts from when each was due.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.rollouts.figures import table
from benchmarks.serving.attacks import ATTACKS
from benchmarks.serving.contenders import OURS, Contender, ours
from benchmarks.serving.estimators import make
from benchmarks.serving.openloop import Open, opened
from benchmarks.serving.servers import CLIENT_CORE, ROOT, Server, started

RATE = 100.0
# The benchmark does not wait for clients when an attack is over.
SERVED = Contender(OURS.key, OURS.title, ours("--drain_seconds", "0", "--grace_seconds", "0"), OURS.call)
_SAMPLE_SECONDS = 0.02
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Survived:
    """The result of one attack; memory in bytes, latencies in seconds."""

    attack: str
    memory_before: int
    memory_most: int
    client: Open
    said: dict[str, int]


class _Most(threading.Thread):
    """The most memory that a server has while this runs."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self._server, self._done = server, threading.Event()
        self.seen = 0

    def run(self) -> None:
        """Look again and again."""
        while not self._done.wait(_SAMPLE_SECONDS):
            self.seen = max(self.seen, self._server.process.memory_info().rss)

    def end(self) -> int:
        """The most that was seen."""
        self._done.set()
        self.join()
        return self.seen


def survive(name: str, server: Server, folder: Path, seconds: float) -> Survived:
    """Attack a running server for `seconds`."""
    before = server.process.memory_info().rss
    most = _Most(server)
    most.start()
    command = [sys.executable, "-m", "benchmarks.serving.attacks", name, str(server.port), str(seconds + 1)]
    pinned = ["taskset", "-c", str(CLIENT_CORE), *command]
    with subprocess.Popen(pinned, stdout=subprocess.PIPE, text=True, cwd=ROOT) as attacker:
        try:
            client = opened(server, OURS.call(1), folder, RATE, seconds)
            said, _ = attacker.communicate(timeout=seconds + 60)
        finally:
            attacker.kill()
    return Survived(name, before, most.end(), client, json.loads(said))


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/survival"))
    parser.add_argument("--only", nargs="*", choices=sorted(ATTACKS), default=list(ATTACKS))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = arguments.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    model = make(folder / "models")["linear"]
    found = []
    for name in arguments.only:
        with started(SERVED, model, folder) as server:
            found.append(survive(name, server, folder, arguments.seconds))
            print(f"{name}: {found[-1]}", file=sys.stderr, flush=True)
    (folder / "survival.json").write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n")
    head = ["attack", "memory MiB", "client p50 ms", "p99 ms", "client's failed", "the attacker's result"]
    print(table(head, [_line(one) for one in found]))
    return 0 if all(one.client.failed == 0 for one in found) else 1


def _line(one: Survived) -> list[str]:
    said = ", ".join(f"{count:,} {what}" for what, count in sorted(one.said.items()))
    return [
        ATTACKS[one.attack][0],
        f"{one.memory_before / _MEBIBYTE:.0f} → {one.memory_most / _MEBIBYTE:.0f}",
        f"{1000 * one.client.p50:.2f}",
        f"{1000 * one.client.p99:.2f}",
        f"{one.client.failed} of {one.client.due}",
        said,
    ]


if __name__ == "__main__":
    sys.exit(main())
