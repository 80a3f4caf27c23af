"""What the cluster tests do to a cluster: commands, pods that run a script, and load that counts every answer."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import requests
import yaml

from sabia.kubernetes.manifests import ROOT
from sabia.kubernetes.pods import is_ready
from sabia.kubernetes.programs import installed
from tests.waiting import eventually

Document = dict[str, Any]
Served = dict[str, dict[str, object]]
T = TypeVar("T")

MODEL = "breast-cancer"
NAMESPACE = "sabia"
STORE = "sabia-store"
HOST = f"{MODEL}.example.com"
IMAGE = "sabia-full:0.1.0"
REPORT = Path("build/cluster")
FIGURES: dict[str, Document] = {}
_numbers = count(1)


def kubectl(*arguments: str, stdin: str | None = None, check: bool = True, seconds: float = 300) -> str:
    """What kubectl prints; its complaint is the failure."""
    done = subprocess.run(
        [installed("kubectl"), *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=seconds
    )
    assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr.strip()}"
    return done.stdout + ("" if check else done.stderr)


def get(kind: str, name: str = "", *, namespace: str = NAMESPACE, selector: str = "") -> Document:
    """An object, or a list of them."""
    arguments = [*([name] if name else []), "-n", namespace, *(["-l", selector] if selector else [])]
    found: Document = json.loads(kubectl("get", kind, *arguments, "-o", "json"))
    return found


def apply(*documents: Document) -> None:
    """Apply documents."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(documents))


def apply_folder(folder: str) -> None:
    """`kubectl apply -k`, as a user does it."""
    kubectl("apply", "-k", str(ROOT / folder))


def sabia(*arguments: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    """One command of ours, in the namespace of the tests."""
    command = [sys.executable, "-P", "-m", "sabia", *arguments, "--namespace", NAMESPACE]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)


def traffic(*arguments: str) -> Document:
    """`sabia traffic`, which has to succeed."""
    done = sabia("traffic", *arguments, "--model", MODEL, "--json")
    assert done.returncode == 0, done.stderr
    found: Document = json.loads(done.stdout)
    return found


def status(model: str = MODEL) -> dict[str, Document]:
    """`sabia status`, by version."""
    done = sabia("status", "--model", model, "--json")
    assert done.returncode == 0, done.stderr
    return {row["version"]: row for row in json.loads(done.stdout)["versions"]}


def pods_of(service: str) -> list[Document]:
    """The pods of an InferenceService that are not on their way out."""
    found: list[Document] = get("pods", selector=f"serving.kserve.io/inferenceservice={service}")["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def readiness(service: str) -> list[bool]:
    """Of each pod of an InferenceService that is not on its way out, whether it is ready."""
    return [is_ready(pod) for pod in pods_of(service)]


class Rollout:
    """A roll-out of the Deployment of an InferenceService that has just been changed."""

    def __init__(self, service: str) -> None:
        self._name = f"{service}-predictor"
        self._generation = eventually(self._changed)

    def available(self) -> int:
        """Pods that are available now."""
        return int(self._deployment()["status"].get("availableReplicas", 0))

    def is_complete(self) -> bool:
        """Whether every pod is of the new kind and no other is left."""
        found = self._deployment()
        status, wanted = found["status"], found["spec"]["replicas"]
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
        return status["observedGeneration"] >= self._generation and counts == [wanted] * 3

    def _deployment(self) -> Document:
        return get("deployment", self._name)

    def _changed(self) -> int:
        found = self._deployment()
        unfinished = found["status"].get("updatedReplicas", 0) < found["status"]["replicas"]
        return int(found["metadata"]["generation"]) if unfinished else 0


def within(pod: str, script: str, *, check: bool = True) -> str:
    """What a Python script prints inside a predictor."""
    return kubectl("exec", "-n", NAMESPACE, pod, "-c", "kserve-container", "--", "python", "-c", script, check=check)


def start_pod(script: str, *, labels: dict[str, str] | None = None, secret: str | None = None) -> str:
    """The name of a new pod that runs a Python script, as any user: the image asks for none."""
    name = f"script-{next(_numbers)}-{int(time.time())}"
    container = {
        "name": "script",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", script],
        "envFrom": [{"secretRef": {"name": secret}}] if secret else [],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 4242, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels or {}}
    apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    return name


# The last line that a pod's script prints, also if it ends by sys.exit.
_END = "end of the script"


def run_pod(script: str, *, secret: str) -> str:
    """What a Python script prints in a pod of its own, with a user's access to the store; it has to succeed."""
    name = start_pod(f"import atexit; atexit.register(print, {_END!r})\n{script}", secret=secret)
    eventually(lambda: get("pod", name)["status"]["phase"] in {"Succeeded", "Failed"})
    phase = get("pod", name)["status"]["phase"]
    # The node may still be copying the log of a container that has exited.
    if phase == "Succeeded":
        eventually(lambda: kubectl("logs", "-n", NAMESPACE, name).endswith(f"{_END}\n"))
    output = kubectl("logs", "-n", NAMESPACE, name)
    kubectl("delete", "pod", "-n", NAMESPACE, name, "--wait=false")
    assert phase == "Succeeded", output
    return output.removesuffix(f"{_END}\n")


def ask(
    url: str,
    row: list[float],
    *,
    rows: int = 1,
    headers: dict[str, str] | None = None,
    session: requests.Session | None = None,
) -> requests.Response:
    """One V1 call through the gateway."""
    return (session or requests).post(
        f"{url}/v1/models/{MODEL}:predict",
        data=_body(tuple(row), rows),
        headers={"host": HOST, "content-type": "application/json"} | (headers or {}),
        timeout=10,
    )


@cache
def _body(row: tuple[float, ...], rows: int) -> bytes:
    """A body, made once: making a large one for each request would be most of the load."""
    return json.dumps({"instances": [row] * rows}).encode()


@contextmanager
def background(call: Callable[[], T]) -> Iterator[Future[T]]:
    """A call that goes on meanwhile, and has ended when this is left."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)


@dataclass(slots=True)
class Answer:
    """The result of one request at a time (seconds since the load began).

    `outcome` is a status, or the name of an exception; `said` is the text of an error response; `request_id` is the
    server's, where one responded.
    """

    at: float
    outcome: str
    version: str | None
    said: str = ""
    request_id: str | None = None


@dataclass(slots=True)
class Load:
    """Calls that go on, and everything that they got. No call is retried."""

    answers: list[Answer] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def now(self) -> float:
        """Seconds since the load began."""
        return time.monotonic() - self.started

    def outcomes(self, since: float = 0.0) -> Counter[str]:
        """How many calls got what."""
        return Counter(answer.outcome for answer in list(self.answers) if answer.at >= since)

    def versions(self, since: float = 0.0, until: float = float("inf")) -> Counter[str | None]:
        """How many calls each version answered."""
        return Counter(answer.version for answer in list(self.answers) if since <= answer.at < until)

    def wait_for(self, number: int) -> None:
        """Let this many more calls be answered."""
        target = len(self.answers) + number
        eventually(lambda: len(self.answers) >= target)

    def failures(self) -> list[Answer]:
        """Calls that got anything but 200."""
        return [answer for answer in list(self.answers) if answer.outcome != "200"]

    def failed(self) -> int:
        """How many got anything but 200."""
        return len(self.failures())


@contextmanager
def load(url: str, row: list[float], *, rows: int = 1, clients: int = 4, pause: float = 0.05) -> Iterator[Load]:
    """Load from a few clients with `pause` seconds between their requests of `rows` rows.

    Every other client makes a connection for each request.
    """
    found, stop = Load(), threading.Event()

    def client(index: int) -> None:
        session = requests.Session()
        while not stop.wait(pause):
            if index % 2:
                session.close()
            at = found.now()
            try:
                answer = ask(url, row, rows=rows, session=session)
                said = "" if answer.ok else answer.text.strip()[:200]
                version, request_id = (answer.headers.get(name) for name in ("x-model-version", "x-request-id"))
                found.answers.append(Answer(at, str(answer.status_code), version, said, request_id))
            except requests.RequestException as error:
                found.answers.append(Answer(at, type(error).__name__, None))
        session.close()

    threads = [threading.Thread(target=client, args=(index,), daemon=True) for index in range(clients)]
    for thread in threads:
        thread.start()
    try:
        found.wait_for(2 * clients)
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def report(name: str, document: Document) -> None:
    """Keep figures in build/cluster; the end of the run prints them."""
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    FIGURES[name] = {key: value for key, value in document.items() if key != "over_time"}
