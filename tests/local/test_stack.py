"""The whole path on one machine: KServe's own client, the split, and changes of weights under load."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kserve
import numpy as np
import psutil
import pytest
import requests
from kserve import InferInput, InferRequest

from sabia.demo.checks import interval
from sabia.local.errors import AlreadyRunning
from sabia.local.objectstore import ObjectStore
from sabia.local.split import EnvoySplit
from sabia.local.stack import Stack
from sabia.rollout.errors import InvalidWeights, UnknownVersion
from sabia.serving.inference.model import FAST_PATH_TOLERANCE
from sabia.training.datasets import Dataset
from tests.kserve_client import with_client

MODEL = "breast-cancer"


def ask(url: str, row: list[float], version: str | None = None) -> requests.Response:
    """One V1 call, on a connection of its own."""
    headers = {"x-model-version": version} if version else {}
    return requests.post(f"{url}/v1/models/{MODEL}:predict", json={"instances": [row]}, headers=headers, timeout=10)


def test_kserves_client_gets_v1_answers(url: str, dataset: Dataset) -> None:
    body = {"instances": dataset.features[:2].tolist()}
    answer = with_client("v1", lambda client: client.infer(url, body, model_name=MODEL))
    assert len(answer["predictions"]) == 2
    assert with_client("v1", lambda client: client.is_model_ready(url, MODEL)) is True
    explained = with_client("v1", lambda client: client.explain(url, MODEL, body))
    assert len(explained["explanations"]) == 2


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "binary"])
def test_kserves_client_gets_the_same_v2_answers(url: str, dataset: Dataset, binary: bool) -> None:
    rows = dataset.features[:3]
    tensor = InferInput(name="features", shape=list(rows.shape), datatype="FP64")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    request = InferRequest(
        model_name=MODEL,
        infer_inputs=[tensor],
        request_id="the same",
        parameters={"binary_data_output": True} if binary else {},
    )
    pin, headers = {"x-model-version": "2.0"}, dict[str, str]()
    call = {"model_name": MODEL, "headers": pin, "response_headers": headers}
    answer = with_client("v2", lambda client: client.infer(url, request, **call))
    assert isinstance(answer, kserve.InferResponse)
    # The client drops the answer's model_version; the header tells it.
    assert (answer.id, headers["x-model-version"]) == ("the same", "2.0")
    expected = [ask(url, row, "2.0").json()["predictions"][0] for row in rows.tolist()]
    assert answer.outputs[0].as_numpy().tolist() == pytest.approx(expected, rel=0, abs=FAST_PATH_TOLERANCE)


def test_kserves_client_finds_the_predictor_live_and_ready(stack: Stack) -> None:
    server = stack.servers[0].url
    assert with_client("v2", lambda client: client.is_server_live(server)) is True
    assert with_client("v2", lambda client: client.is_server_ready(server)) is True
    assert with_client("v1", lambda client: client.is_server_live(server)) is True
    assert with_client("v2", lambda client: client.is_model_ready(server, MODEL)) is True


def test_metadata_is_reached_through_the_gateway_and_metrics_are_not(url: str) -> None:
    assert requests.get(f"{url}/v2/models/{MODEL}", timeout=5).json()["name"] == MODEL
    for path in ("/metrics", "/", "/v1/models", "/v2/health/live", f"/v1/models/{MODEL}:other", f"/v2/models/{MODEL}2"):
        assert requests.get(f"{url}{path}", timeout=5).status_code == 404


def test_a_header_pins_a_version(url: str, dataset: Dataset) -> None:
    for version in ("1.2", "2.0"):
        answers = [ask(url, row, version) for row in dataset.features[:20].tolist()]
        assert {answer.headers["x-model-version"] for answer in answers} == {version}


@pytest.mark.parametrize("weights", [(90, 10), (50, 50)])
def test_the_split_follows_its_weights(
    url: str, traffic: EnvoySplit, dataset: Dataset, weights: tuple[int, int]
) -> None:
    """Inside the exact binomial interval that holds with 99.99 %."""
    traffic.set_weights(dict(zip(("1.2", "2.0"), weights, strict=True)))
    row = dataset.features[0].tolist()
    seen = Counter(ask(url, row).headers["x-model-version"] for _ in range(600))
    low, high = interval(600, weights[1] / 100)
    assert low <= seen["2.0"] <= high


def test_weights_are_in_force_when_setting_them_returns(url: str, traffic: EnvoySplit, dataset: Dataset) -> None:
    for version, other in (("2.0", "1.2"), ("1.2", "2.0")):
        assert traffic.set_weights({version: 100}) == {version: 100, other: 0} == traffic.weights()
        answers = [ask(url, row) for row in dataset.features[:50].tolist()]
        assert {answer.headers["x-model-version"] for answer in answers} == {version}


@pytest.mark.parametrize("weights", [{"9.9": 1}, {"1.2": -1, "2.0": 2}, {"1.2": 0}, {}])
def test_weights_that_make_no_split_change_nothing(traffic: EnvoySplit, weights: dict[str, int]) -> None:
    before = traffic.weights()
    with pytest.raises((UnknownVersion, InvalidWeights)):
        traffic.set_weights(weights)
    assert traffic.weights() == before


def test_twenty_changes_of_weights_under_load_drop_no_request(url: str, traffic: EnvoySplit, dataset: Dataset) -> None:
    """No call is retried; each client keeps its connection."""
    stop = threading.Event()
    row = {"instances": [dataset.features[0].tolist()]}

    def load() -> Counter[object]:
        seen: Counter[object] = Counter()
        with requests.Session() as session:
            while not stop.is_set():
                try:
                    seen[session.post(f"{url}/v1/models/{MODEL}:predict", json=row, timeout=10).status_code] += 1
                except requests.RequestException as error:
                    seen[repr(error)] += 1
        return seen

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(load) for _ in range(4)]
        for change in range(20):
            traffic.set_weights({"1.2": 100 - 5 * change, "2.0": 5 * change})
        stop.set()
        total = sum((client.result() for client in clients), Counter[object]())
    assert set(total) == {200}
    assert total[200] > 20


def test_a_mirrored_version_sees_every_request_and_no_client_sees_its_answers(
    url: str, traffic: EnvoySplit, dataset: Dataset
) -> None:
    traffic.set_weights({"1.2": 100})
    traffic.set_mirror("2.0")
    before = traffic.request_counts()
    try:
        traffic.set_weights({"1.2": 100})
        assert traffic.mirror() == "2.0", "a change of weights leaves the mirror"
        answers = [ask(url, row) for row in dataset.features[:50].tolist()]
    finally:
        traffic.set_mirror(None)
    assert {answer.headers["x-model-version"] for answer in answers} == {"1.2"}
    # A copy may leave after the answer has arrived.
    deadline = time.monotonic() + 10
    while traffic.request_counts()["2.0"] - before["2.0"] < 50 and time.monotonic() < deadline:
        pass
    assert traffic.request_counts()["2.0"] - before["2.0"] == 50
    assert traffic.mirror() is None


def test_only_a_version_of_the_route_can_be_mirrored(traffic: EnvoySplit) -> None:
    with pytest.raises(UnknownVersion):
        traffic.set_mirror("9.9")


def test_everything_listens_on_loopback_alone(stack: Stack) -> None:
    for process in stack.processes:
        listening = [
            item for item in psutil.Process(process.pid).connections("tcp") if item.status == psutil.CONN_LISTEN
        ]
        assert listening, f"{process.name} listens somewhere"
        assert {item.laddr.ip for item in listening} == {"127.0.0.1"}


def test_a_version_holds_only_its_own_files(stack: Stack) -> None:
    folders = {server.spec.version: stack.folder / "models" / server.spec.name for server in stack.servers}
    for folder in folders.values():
        names = sorted(path.name for path in folder.rglob("*") if path.is_file())
        assert names == ["CARD.md", "manifest.json", "model.onnx", "reference.json", "state.json"]


def test_a_folder_holds_one_stack(stack: Stack) -> None:
    with pytest.raises(AlreadyRunning), Stack(stack.folder):
        pytest.fail("a second stack was started in the same folder")


def test_a_burst_of_rows_is_answered_like_single_ones(url: str, dataset: Dataset) -> None:
    body = {"instances": dataset.features.tolist()}
    pin = {"x-model-version": "2.0"}
    together = requests.post(f"{url}/v1/models/{MODEL}:predict", json=body, headers=pin, timeout=10).json()[
        "predictions"
    ]
    single = ask(url, dataset.features[7].tolist(), "2.0").json()["predictions"][0]
    assert np.isclose(together[7], single, rtol=0, atol=1e-12)


def test_a_store_that_was_restarted_reads_what_it_held_as_soon_as_it_is_ready(tmp_path: Path) -> None:
    keys = [f"models/toy/1.{minor}/manifest.json" for minor in range(5)]
    (tmp_path / "logs").mkdir()
    for run in range(3):
        server = ObjectStore(tmp_path / "data", tmp_path / "logs")
        try:
            server.wait_until_ready()
            store = server.access.open()
            assert [store.get(key) for key in keys if run] == [key.encode() for key in keys if run]
            for key in keys:
                store.create(key, key.encode())
        finally:
            server.process.stop(seconds=10)
