"""Every kind of model through everything that a version has: docs/matrix.md is what this test found.

`SABIA_WRITE_MATRIX=1` writes the page; without it a page that says otherwise fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

import sabia
from sabia.contract.metrics import samples
from sabia.contract.signature import difference
from sabia.local.process import free_ports
from sabia.monitoring import labels, report
from sabia.rollout.counters import Arm, Counters
from sabia.rollout.evaluation import Evaluation
from sabia.rollout.plan import from_mapping
from sabia.rollout.samples import counters_from_samples
from sabia.store.objects import Store
from tests.kinds import KINDS, Kind, parts, records
from tests.local.test_predictor_process import Server, served

PAGE = Path(__file__).parents[2] / "docs" / "matrix.md"
COLUMNS = ("published", "V1", "V2", "gRPC", "compared", "logged", "drift", "labels", "report")
NAME = "kind"
ROWS = 20
# What labels are compared with, by the kind of quality that a report has.
_JUDGED = {"Quality": "probabilities", "ClassQuality": "classes", "ValueQuality": "numbers"}


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, dict[str, str]]]:
    """The rows of the matrix, filled by the tests; compared with the page when all ran."""
    found: dict[str, dict[str, str]] = {}
    yield found
    if set(found) != {kind.name for kind in KINDS}:
        return
    page = _page(found)
    if os.environ.get("SABIA_WRITE_MATRIX"):
        PAGE.write_text(page)
    assert PAGE.read_text() == page


def _page(found: dict[str, dict[str, str]]) -> str:
    lines = [f"| {name} | {' | '.join(found[name][column] for column in COLUMNS)} |" for name in found]
    head = f"| model | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}"
    return f"""# What works for which model

`tests/local/test_matrix.py` makes this page: each model is published twice, served, asked over three protocols,
compared, logged, labelled and reported, by real processes.

{head}
{chr(10).join(lines)}
"""


@contextmanager
def serving(store: Path, version: str, log: Path) -> Iterator[tuple[Server, int]]:
    """One version as a process with an inference log, and its gRPC port."""
    (port,) = free_ports(1)
    more = ("--grpc_port", str(port), "--log", log.as_uri(), "--log_spool", str(log / f"spool-{version}"))
    with served(store / "models" / NAME / version, *more, "--log_seconds", "3600", "--drain_seconds", "0") as server:
        yield server, port
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0


def v1(server: Server, rows: list[dict[str, Any]]) -> tuple[str, list[Any]]:
    """The request's id and its predictions."""
    response = requests.post(f"{server.url}/v1/models/{NAME}:predict", json={"instances": rows}, timeout=60)
    assert response.ok, response.text
    return response.headers["x-request-id"], response.json()["predictions"]


def infer_request(manifest: sabia.Manifest, inputs: pd.DataFrame) -> InferRequest:
    """The rows as KServe's client writes them: one tensor for each column."""
    tensors = []
    for each in manifest.inputs:
        column = inputs[[each.name]]
        if each.dtype == "string":
            values = column.astype(object).where(column.notna(), each.fill or "").to_numpy()
            tensor = InferInput(each.name, list(values.shape), "BYTES")
        else:
            numbers = column.to_numpy(dtype=np.int64 if each.dtype == "int64" else np.float64)
            tensor = InferInput(each.name, list(numbers.shape), "INT64" if each.dtype == "int64" else "FP64")
            values = numbers
        tensor.set_data_from_numpy(values, binary_data=False)
        tensors.append(tensor)
    return InferRequest(NAME, tensors)


def rest(server: Server, request: InferRequest) -> Any:
    """The response over HTTP to KServe's client."""

    async def ask() -> Any:
        async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
            return await client.infer(server.url, request, model_name=NAME)

    return asyncio.run(ask())


def rpc(port: int, request: InferRequest) -> Any:
    """The response over gRPC to KServe's client."""

    async def ask() -> Any:
        client = InferenceGRPCClient(f"127.0.0.1:{port}")
        try:
            return await client.infer(request)
        finally:
            await client.close()

    return asyncio.run(ask())


def primary(response: Any, manifest: sabia.Manifest) -> list[Any]:
    """The primary output of a V2 response, as V1 writes its values."""
    output = next(each for each in response.outputs if each.name == manifest.primary)
    return [value.decode() if isinstance(value, bytes) else value for value in output.as_numpy().ravel().tolist()]


def plain(predictions: list[Any], manifest: sabia.Manifest) -> list[Any]:
    """V1's predictions as the values of the primary output alone."""
    return [
        prediction.get("label", prediction.get(manifest.primary)) if isinstance(prediction, dict) else prediction
        for prediction in predictions
    ]


def counters(server: Server) -> Counters:
    """What the rollout engine reads from the page of metrics."""
    return counters_from_samples(samples(requests.get(f"{server.url}/metrics", timeout=10).text))


def label_file(path: Path, ids: dict[str, int], truth: list[Any]) -> Path:
    """The truths of each request's rows, as JSON lines."""
    lines = [
        json.dumps({"request_id": name, "row": row, "label": truth[row]})
        for name, rows in ids.items()
        for row in range(rows)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def close(one: list[Any], other: list[Any]) -> bool:
    """Whether predictions are the same, numbers within the precision of float32."""
    if isinstance(one[0], str):
        return one == other
    return bool(np.allclose(one, other, rtol=1e-5, atol=1e-6))


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_kind_of_model(kind: Kind, tmp_path: Path, table: dict[str, dict[str, str]]) -> None:
    cells = table.setdefault(kind.name, dict.fromkeys(COLUMNS, "no"))
    folder, log = tmp_path / "store", tmp_path / "log"
    log.mkdir()
    store = sabia.open_store(folder.as_uri(), make=True)
    tables = parts(kind)
    published = [
        sabia.publish(kind.make().fit(inputs, target), inputs, target, store=store, name=NAME)
        for inputs, target in tables
    ]
    manifests = [each.manifest for each in published]
    assert [each.version for each in manifests] == ["1.0", "1.1"], "other data, same methods"
    cells["published"] = manifests[0].metrics.task

    asked, target = tables[-1][0].head(ROWS), tables[-1][1].head(ROWS)
    rows, ids = records(asked, ROWS), {}
    arms = []
    with ExitStack() as stack:
        for manifest in manifests:
            server, port = stack.enter_context(serving(folder, manifest.version, log))
            name, predictions = v1(server, rows)
            ids[name] = ROWS
            cells["V1"] = _kind_of(predictions[0])
            request = infer_request(manifest, asked)
            answers = primary(rest(server, request), manifest)
            assert close(plain(predictions, manifest), answers)
            cells["V2"] = "yes"
            assert close(answers, primary(rpc(port, request), manifest))
            cells["gRPC"] = "yes"
            counted = counters(server)
            assert (counted.requests, counted.errors, sum(counted.bins.values())) == (3, 0, 3 * ROWS)
            arms.append(Arm(n=counted.requests, bins=counted.bins))
    assert difference(manifests[0].signature, manifests[1].signature) is None
    plan = from_mapping({"model": NAME, "stable": "1.0", "canary": "1.1"})
    assert Evaluation.start(plan, 0).update(arms[0], arms[1]).conclusion.verdict == "undecided"
    cells["compared"] = f"{len(manifests[0].bins)} bins"

    _monitored(Store.open(log.as_uri()), store, tmp_path, ids, target, cells)


def _monitored(log: Store, store: Store, folder: Path, ids: dict[str, int], target: Any, cells: dict[str, str]) -> None:
    """The log, labels and the report of what was asked."""
    truth = target.iloc[:, 0] if isinstance(target, pd.DataFrame) else target
    values = [each.item() if isinstance(each, np.generic) else each for each in truth]
    # Log, labels and versions are in one store where a report is made.
    _copy(log, store)
    added = labels.add(store, NAME, label_file(folder / "labels.jsonl", ids, values))
    assert added.new == len(ids) * ROWS
    today = datetime.now(UTC).date()
    found = report.generate(store, NAME, today - timedelta(days=1), today)
    assert {each.version for each in found.versions} == {"1.0", "1.1"}
    (version, _) = found.versions
    assert version.rows == 3 * ROWS
    cells["logged"] = f"inputs: {len(version.features)}"
    assert version.drift
    cells["drift"] = f"columns: {len(version.drift)}"
    assert version.quality is not None
    assert version.quality.rows == ROWS
    cells["labels"] = _JUDGED[type(version.quality).__name__]
    cells["report"] = "yes"


def _copy(source: Store, target: Store) -> None:
    for entry in list(source.list("inference-log/")):
        target.create(entry.key, source.get(entry.key))


def _kind_of(prediction: Any) -> str:
    if isinstance(prediction, dict):
        return "label, probabilities" if "label" in prediction else "an object"
    return "a list" if isinstance(prediction, list) else "a number"
