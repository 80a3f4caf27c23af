"""Hostile clients of a running rollout: `python -m benchmarks.rollouts.attacks --requests 10000`.

A stack of this machine serves two versions, the second a little slower. An engine rolls that one out, and each kind of
hostile request is sent through the gateway while an honest client goes on. Prints the responses to every kind, the
failures (5xx) that were counted against a version meanwhile, and the weights after it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from sabia.local import counters
from sabia.local.composition import Serving
from sabia.local.lifecycle import train_missing
from sabia.local.split import EnvoySplit
from sabia.local.stack import Stack
from sabia.local.state import gateway_of, running
from sabia.rollout.counters import difference
from sabia.rollout.engine import Engine, start
from sabia.rollout.plan import from_mapping

PREDICT, INFER = "/v1/models/breast-cancer:predict", "/v2/models/breast-cancer/infer"
EXPLAIN = "/v1/models/breast-cancer:explain"
ROW = json.dumps({"instances": [[1.0] * 30]}).encode()
LONG = b'{"instances": [[1' + b"0" * 400 + b", " + b", ".join([b"1"] * 29) + b"]]}"
PLAN = {
    "model": "breast-cancer",
    "stable": "1.2",
    "canary": "2.0",
    "steps": [50],
    "minimum_dwell": "1h",
    "look_every": 1,
    "warm_up": 0,
    "watch": {"errors": {}, "refusals": {}},
}
# So slow that a deadline of 1 ms is always missed, and the canary is a little slower.
SLOW = Serving(faults={"1.2": "delay=2ms", "2.0": "delay=3ms"})
# Path, headers and body of each kind.
KINDS: dict[str, tuple[str, dict[str, str], bytes]] = {
    "a deadline of 1 ms": (PREDICT, {"x-request-timeout-ms": "1"}, ROW),
    "Envoy's deadline of 1 ms": (PREDICT, {"x-envoy-expected-rq-timeout-ms": "1"}, ROW),
    "Envoy's timeout of 1 ms": (
        PREDICT,
        {"x-envoy-upstream-rq-timeout-ms": "1", "x-forwarded-for": "10.0.0.1"},
        ROW,
    ),
    "a number of 400 digits": (PREDICT, {}, LONG),
    "400 digits to explain": (EXPLAIN, {}, LONG),
    "JSON that ends early": (PREDICT, {}, ROW[:-3]),
    "a V2 body that is none": (INFER, {}, b'{"inputs": [{"name": 1}]}'),
    "binary data without a length": (INFER, {"content-type": "application/octet-stream"}, b"\x00" * 64),
    "a pin on no version": (PREDICT, {"x-model-version": "9.9"}, ROW),
    "bad rows pinned to the canary": (PREDICT, {"x-model-version": "2.0"}, b"{}"),
    "bad rows in the canary's V2 path": ("/v2/models/breast-cancer/versions/2.0/infer", {}, b"{}"),
    "the host of a mirror": (PREDICT, {"host": "a-shadow"}, ROW),
}


def send(port: int, kind: tuple[str, dict[str, str], bytes], count: int) -> Counter[str]:
    """Send one kind of request this often; the statuses of the responses."""
    path, headers, body = kind
    found: Counter[str] = Counter()
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(count):
        try:
            connection.request("POST", path, body, {"content-type": "application/json"} | headers)
            response = connection.getresponse()
            response.read()
            found[str(response.status)] += 1
        except (HTTPException, OSError):
            found["closed"] += 1
            connection.close()
    connection.close()
    return found


def main() -> int:
    """Run every kind; 0 when nothing was counted and nothing moved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="hostile requests of every kind")
    arguments = parser.parse_args()
    bad = False
    with tempfile.TemporaryDirectory() as folder, Stack(Path(folder), serving=SLOW) as stack:
        store = stack.start_store().open()
        train_missing(stack, store)
        stack.start_predictors()
        stack.start_gateway()
        state = running(stack.folder)
        gateway = gateway_of(stack.folder, state)
        split, source = EnvoySplit.from_state(gateway, state), counters.pages(gateway, state)
        split.set_weights({"1.2": 100})
        plan = from_mapping(PLAN)
        engine = Engine(start(store, plan, split.weights(), actor="benchmark"), split, source)
        done = threading.Event()
        honest = threading.Thread(target=lambda: _honest(gateway.port, done))
        rolling = threading.Thread(target=lambda: engine.run(done.is_set))
        honest.start()
        rolling.start()
        print("| hostile requests | answered | counted as failures | weights |\n|---|---|---|---|")
        try:
            while split.weights().get("2.0") != 50 and not done.wait(0.2):
                pass
            for name, kind in KINDS.items():
                before = source.scrape()
                answered = send(gateway.port, kind, arguments.requests)
                after, weights = source.scrape(), split.weights()
                failed = sum(difference(before, after, version).errors for version in plan.versions)
                bad |= failed > 0 or weights != {"1.2": 50, "2.0": 50}
                shown = ", ".join(f"{count:,} {status}" for status, count in answered.most_common())
                print(f"| {name} | {shown} | {failed} | {weights['1.2']} : {weights['2.0']} |", flush=True)
        finally:
            done.set()
            honest.join()
            rolling.join()
        print(f"\nThe rollout: {engine.head.entry.summary}")
    return int(bad or engine.state.phase != "Stepping")


def _honest(port: int, done: threading.Event) -> Any:
    while not done.wait(0.01):
        send(port, (PREDICT, {}, ROW), 1)


if __name__ == "__main__":
    sys.exit(main())
