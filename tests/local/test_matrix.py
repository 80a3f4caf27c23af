"""Every kind of model through everything that a version has: docs/matrix.md is what this test found.

`SABIA_WRITE_MATRIX=1` writes the page; without it a page that says otherwise fails.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import requests
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

import sabia
from sabia.contract.inferencelog import LOG_COLUMNS
from sabia.contract.layout import Version
from sabia.contract.metrics import bin_labels, samples
from sabia.contract.signature import Input, difference
from sabia.local.process import free_ports
from sabia.monitoring import labels, report
from sabia.monitoring.document import Report
from sabia.registry.catalogue import manifest_of, versions
from sabia.registry.comparable import require_comparable
from sabia.rollout.counters import Arm, Counters
from sabia.rollout.evaluation import Evaluation
from sabia.rollout.plan import from_mapping
from sabia.rollout.samples import counters_from_samples
from sabia.store.objects import Store
from tests.kinds import KINDS, Kind, records, tables
from tests.local.test_predictor_process import Server, served

PAGE = Path(__file__).parents[2] / "docs" / "matrix.md"
COLUMNS = ("published", "V1", "V2", "gRPC", "rolled out by evidence", "logged", "drift", "labels", "report")
NAME = "kind"
VERSIONS = ("1.0", "1.1")
ROWS = 20
# What labels are compared with, by the kind of quality that a report has.
_JUDGED = {"Quality": "probabilities", "ClassQuality": "classes", "ValueQuality": "numbers"}
# The protocol's datatype for each dtype, and numpy's for those that are numbers.
_DATATYPES = {
    "float64": ("FP64", np.float64),
    "float32": ("FP32", np.float32),
    "int64": ("INT64", np.int64),
    "bool": ("BOOL", np.bool_),
}

Cells = dict[str, str]


class Refused(Exception):
    """The server answered with an error; its sentence."""


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, Cells]]:
    """The rows of the matrix, filled by the tests; compared with the page when all ran."""
    found: dict[str, Cells] = {}
    yield found
    if set(found) != {kind.name for kind in KINDS}:
        return
    text = _page(found)
    if os.environ.get("SABIA_WRITE_MATRIX"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text


def _page(found: dict[str, Cells]) -> str:
    lines = [f"| {name} | {' | '.join(found[name][column] for column in COLUMNS)} |" for name in found]
    head = f"| model | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}"
    return f"""# What works for which model

`tests/local/test_matrix.py` makes this page: each model is published twice, served, asked over three protocols,
compared, logged, labelled and reported, by real processes.

- *V1* is the form of a prediction. *V2* is asked in JSON and in binary, and *gRPC*, by KServe's clients; all must give
  the same predictions.
- *Rolled out by evidence* means that a plan accepts the two versions, and that each prediction is in one of the bins
  that they are compared by.
- *Logged* counts the columns of inputs in the log, *drift* the columns that are compared with the training rows, and
  *labels* is what they are compared with. What cannot be judged has the reason that the server or the report gives.

{head}
{chr(10).join(lines)}
"""


@dataclass(frozen=True)
class Running:
    """One version as a process with an inference log.

    Attributes:
        inputs, primary: of its signature; of code, as the test knows them.
    """

    server: Server
    grpc_port: int
    inputs: Sequence[Input]
    primary: str

    def counters(self) -> Counters:
        """What the rollout engine reads from the page of metrics."""
        return counters_from_samples(samples(requests.get(f"{self.server.url}/metrics", timeout=10).text))


@contextmanager
def serving(kind: Kind, store: Path, version: str, log: Path, manifest: sabia.Manifest | None) -> Iterator[Running]:
    """One version of a kind as a process, which must end in good order after the SIGTERM that the caller sends."""
    (port,) = free_ports(1)
    more = ["--grpc_port", str(port), "--log", log.as_uri(), "--log_spool", str(log / f"spool-{version}")]
    if kind.model_class is not None:
        more += ["--model-class", kind.model_class]
    if manifest is None:
        more += ["--model-name", NAME, "--model-version", version]
        inputs = [Input(name=str(name), dtype="float64") for name in kind.table()[0]]
    else:
        inputs = manifest.inputs
    primary = "prediction" if manifest is None else manifest.primary
    with served(store / "models" / NAME / version, *more, "--log_seconds", "3600", "--drain_seconds", "0") as server:
        yield Running(server, port, inputs, primary)
        assert server.process.wait(60) == 0


def v1(running: Running, rows: list[dict[str, Any]]) -> tuple[str, list[Any]]:
    """The request's id and its predictions."""
    response = requests.post(f"{running.server.url}/v1/models/{NAME}:predict", json={"instances": rows}, timeout=60)
    assert response.ok, response.text
    return response.headers["x-request-id"], response.json()["predictions"]


def infer_request(running: Running, rows: pd.DataFrame, *, binary: bool) -> InferRequest:
    """The rows as KServe's client writes them: one tensor for each column."""
    tensors = []
    for each in running.inputs:
        values, datatype = _values(rows[each.name], each)
        tensor = InferInput(each.name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        tensors.append(tensor)
    return InferRequest(NAME, tensors, parameters={"binary_data_output": True} if binary else None)


def _values(column: pd.Series, each: Input) -> tuple[Any, str]:
    if each.dtype in _DATATYPES:
        datatype, kind = _DATATYPES[each.dtype]
        values: Any = np.stack([*column]).astype(kind)
        return values.reshape(len(values), 1) if each.is_scalar else values, datatype
    if each.dtype == "timestamp":
        column = column.map(pd.Timestamp.isoformat)
    return column.astype(object).where(column.notna(), each.fill or "").to_numpy().reshape(-1, 1), "BYTES"


def rest(running: Running, rows: pd.DataFrame, *, binary: bool) -> list[Any]:
    """The primary output over HTTP to KServe's client."""
    request = infer_request(running, rows, binary=binary)

    async def ask() -> Any:
        async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
            return await client.infer(running.server.url, request, model_name=NAME)

    try:
        return primary(asyncio.run(ask()), running.primary)
    except httpx.HTTPStatusError as error:
        raise Refused(f"{error.response.status_code}: {error.response.json()['error']}") from error


def rpc(running: Running, rows: pd.DataFrame) -> list[Any]:
    """The primary output over gRPC to KServe's client."""
    request = infer_request(running, rows, binary=True)

    async def ask() -> Any:
        client = InferenceGRPCClient(f"127.0.0.1:{running.grpc_port}")
        try:
            return await client.infer(request)
        finally:
            await client.close()

    try:
        return primary(asyncio.run(ask()), running.primary)
    except grpc.RpcError as error:
        raise Refused(f"{error.code().name}: {error.details()}") from error


def primary(response: Any, name: str) -> list[Any]:
    """An output of a V2 response, flat, as V1 writes its values."""
    output = next(each for each in response.outputs if each.name == name)
    return [value.decode() if isinstance(value, bytes) else value for value in output.as_numpy().ravel().tolist()]


def plain(predictions: list[Any], name: str) -> list[Any]:
    """V1's predictions as the values of the primary output alone, flat."""
    values: list[Any] = [
        prediction.get("label", prediction.get(name)) if isinstance(prediction, dict) else prediction
        for prediction in predictions
    ]
    return [each for value in values for each in value] if isinstance(values[0], list) else values


def same(one: list[Any], other: list[Any]) -> bool:
    """Whether predictions are the same, numbers within the precision of float32."""
    if isinstance(one[0], str):
        return one == other
    return bool(np.allclose(one, other, rtol=1e-5, atol=1e-6))


def label_file(path: Path, ids: Sequence[str], truth: list[Any]) -> Path:
    """The truths of each request's rows, as JSON lines."""
    lines = [
        json.dumps({"request_id": name, "row": row, "label": label}) for name in ids for row, label in enumerate(truth)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_kind_of_model(kind: Kind, tmp_path: Path, table: dict[str, Cells]) -> None:
    cells = table.setdefault(kind.name, dict.fromkeys(COLUMNS, "no"))
    folder, log = tmp_path / "store", tmp_path / "log"
    log.mkdir()
    store = sabia.open_store(folder.as_uri(), make=True)
    manifests = _published(kind, store, cells)
    given, target = kind.table()
    given, target = given.head(ROWS), target.head(ROWS)
    arms, ids = [], []
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        starting = [serving(kind, folder, at, log, each) for at, each in zip(VERSIONS, manifests, strict=True)]
        for running in pool.map(stack.enter_context, starting):
            ids.append(_asked(running, given, cells))
            counted = running.counters()
            arms.append(Arm(n=counted.requests, errors=counted.errors, bins=counted.bins))
            running.server.process.send_signal(signal.SIGTERM)
    _compared(store, manifests, arms, cells)
    _copy(Store.open(log.as_uri()), store)
    _monitored(store, tmp_path, ids, target, sum(arms[0].bins.values()), cells)


def _published(kind: Kind, store: Store, cells: Cells) -> list[sabia.Manifest | None]:
    if kind.publish is None:
        cells["published"] = "no: code comes in an image"
        return [None] * len(VERSIONS)
    for part in tables(kind):
        kind.publish(store.url, NAME, part)
    manifests: list[sabia.Manifest | None] = [manifest_of(store, NAME, Version.parse(each)) for each in VERSIONS]
    assert len(versions(store, NAME)) == len(VERSIONS), "other data, same methods"
    assert manifests[0] is not None
    cells["published"] = manifests[0].metrics.task
    return manifests


def _asked(running: Running, rows: pd.DataFrame, cells: Cells) -> str:
    """The id of the V1 request. Every protocol gives the same predictions, or the reason is its cell."""
    before = running.counters()
    name, predictions = v1(running, records(rows))
    cells["V1"] = _form(predictions[0])
    expected, answered = plain(predictions, running.primary), 1
    asks: dict[str, dict[str, Callable[[], list[Any]]]] = {
        "V2": {
            "JSON": lambda: rest(running, rows, binary=False),
            "binary": lambda: rest(running, rows, binary=True),
        },
        "gRPC": {"yes": lambda: rpc(running, rows)},
    }
    for column, ways in asks.items():
        words = []
        for way, ask in ways.items():
            try:
                assert same(ask(), expected)
            except Refused as refused:
                words.append(f"no {way}: {refused}" if len(ways) > 1 else f"no: {refused}")
            else:
                words.append(way)
                answered += 1
        cells[column] = ", ".join(words)
    counted = running.counters()
    assert sum(counted.bins.values()) == answered * ROWS
    assert counted.requests - before.requests - counted.errors == answered
    return name


def _compared(store: Store, manifests: Sequence[sabia.Manifest | None], arms: Sequence[Arm], cells: Cells) -> None:
    """A plan accepts the versions, and their predictions are in the bins that evidence compares."""
    require_comparable(store, NAME, VERSIONS)
    stable, canary = arms
    plan = from_mapping({"model": NAME, "stable": VERSIONS[0], "canary": VERSIONS[1]})
    assert Evaluation.start(plan, 0).update(stable, canary).conclusion.verdict == "undecided"
    first, second = manifests
    # The page of metrics has every bin.
    bins = len(stable.bins)
    assert stable.bins.keys() == canary.bins.keys()
    if first is not None and second is not None:
        assert difference(first.signature, second.signature) is None
        assert stable.bins.keys() == {*bin_labels(first.bins)}
    cells["rolled out by evidence"] = f"{bins} bins" if bins > 1 else "1 bin"


def _monitored(store: Store, folder: Path, ids: list[str], target: Any, rows: int, cells: Cells) -> None:
    """The log, labels and the report of what was asked; `rows` were predicted by each version."""
    truth = target.iloc[:, 0] if isinstance(target, pd.DataFrame) else target
    values = [each.item() if isinstance(each, np.generic) else each for each in truth]
    cells["logged"] = f"inputs: {len(_input_columns(store))}"
    added = labels.add(store, NAME, label_file(folder / "labels.jsonl", ids, values))
    assert added.new == len(ids) * ROWS
    today = datetime.now(UTC).date()
    cells |= _judged(report.generate(store, NAME, today - timedelta(days=1), today), rows)


def _judged(found: Report, rows: int) -> Cells:
    """The cells that a report fills; where it cannot judge, its own reason."""
    if not found.versions:
        assert found.rows == len(VERSIONS) * rows
        assert found.unjudged
        return {"drift": f"no: {found.unjudged}"} | dict.fromkeys(("labels", "report"), "no, for the same reason")
    assert [each.version for each in found.versions] == [*VERSIONS]
    version = found.versions[0]
    assert version.rows == rows, "every predicted row is in the log"
    unwatched = [note for note in version.notes if note.startswith("Drift of")]
    drift = [f"columns: {len(version.drift)}", *unwatched]
    if version.quality is None:
        (judged,) = (note for note in version.notes if note.startswith("Quality is unknown"))
    else:
        assert version.quality.rows == ROWS
        judged = _JUDGED[type(version.quality).__name__]
    return {"drift": ". ".join(drift), "labels": judged, "report": "yes"}


def _input_columns(store: Store) -> set[str]:
    """The columns of the log that hold an input."""
    files = [store.get(entry.key) for entry in store.list("inference-log/")]
    (schema,) = {tuple(pq.read_schema(io.BytesIO(file)).names) for file in files}
    return {*schema} - {*LOG_COLUMNS}


def _copy(source: Store, target: Store) -> None:
    """Put the log where versions and labels are, as a report needs them."""
    for entry in list(source.list("inference-log/")):
        target.create(entry.key, source.get(entry.key))


def _form(prediction: Any) -> str:
    if isinstance(prediction, dict):
        return "label, probabilities" if "label" in prediction else "an object"
    return "a vector" if isinstance(prediction, list) else "a number"
