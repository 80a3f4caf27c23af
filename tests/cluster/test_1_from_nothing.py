"""From an empty namespace to answered calls."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
import requests
from kserve import InferInput, InferRequest

from sabia.demo.checks import interval
from sabia.kubernetes.manifests import ROOT
from sabia.training.datasets import Dataset
from tests.cluster import tools
from tests.cluster.conftest import SIX
from tests.cluster.tools import HOST, MODEL, NAMESPACE, Served
from tests.kserve_client import with_client
from tests.unit.manifests.folders import KUSTOMIZATIONS
from tests.waiting import eventually


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=str)
@pytest.mark.usefixtures("namespaces")
def test_the_api_server_accepts_every_kustomization_without_a_warning(folder: object) -> None:
    arguments = ["-k", str(ROOT / str(folder)), "--server-side", "--dry-run=server", "--force-conflicts"]
    said = tools.kubectl("apply", *arguments, "--field-manager=dry-run", "--warnings-as-errors", check=False)
    lines = [line for line in said.splitlines() if "serverside-applied (server dry run)" not in line]
    assert lines == []


def test_the_store_lets_nobody_delete_and_readers_write_nothing(training: dict[str, list[str]]) -> None:
    attempts = """
import os
from minio import Minio
from minio.error import S3Error
import io
user, key = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
store = Minio(os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"), access_key=user, secret_key=key, secure=False)
name = "models/breast-cancer/1.0/manifest.json"
def attempt(what, call):
    try:
        call()
        print(what, "done")
    except S3Error as error:
        print(what, error.code)
attempt("read", lambda: store.get_object(bucket_name="sabia", object_name=name).read())
attempt("write", lambda: store.put_object("sabia", f"attempts/{user}", io.BytesIO(b"x"), 1))
attempt("delete", lambda: store.remove_object(bucket_name="sabia", object_name=name))
"""
    trainer = tools.run_pod(attempts, secret="models-s3-trainer").splitlines()
    reader = tools.run_pod(attempts, secret="models-s3").splitlines()
    assert trainer == ["read done", "write done", "delete AccessDenied"]
    assert reader == ["read done", "write AccessDenied", "delete AccessDenied"]


def test_setting_the_store_up_again_changes_nothing(training: dict[str, list[str]]) -> None:
    before = tools.get("secret", "models-s3")["data"]
    tools.kubectl("delete", "job", "-n", tools.STORE, "minio-setup", "--ignore-not-found")
    tools.apply_folder("store/minio")
    tools.kubectl("wait", "-n", tools.STORE, "job/minio-setup", "--for=condition=Complete", "--timeout=120s")
    assert tools.get("secret", "models-s3")["data"] == before
    assert "created" not in tools.kubectl("logs", "-n", tools.STORE, "job/minio-setup")


def test_two_training_jobs_at_once_make_six_versions_and_no_error(training: dict[str, list[str]]) -> None:
    lines = [line for said in training.values() for line in said]
    assert len(lines) == 12
    assert Counter(line.split(":")[0] for line in lines) == {f"{MODEL} {version}": 2 for version in SIX}
    script = (
        "from sabia.registry import catalogue\n"
        "from sabia.store.objects import Store\n"
        f"print(*catalogue.versions(Store.open('s3://sabia'), '{MODEL}'))"
    )
    assert tools.run_pod(script, secret="models-s3").split() == SIX


def test_a_training_job_that_is_killed_goes_on_where_it_stopped(training: dict[str, list[str]]) -> None:
    job = tools.get("cronjob", "training")["spec"]["jobTemplate"]["spec"]
    job["template"]["spec"]["containers"][0]["args"] = ["--store=s3://sabia/killed"]
    metadata = {"name": "training-killed", "namespace": NAMESPACE}
    tools.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job})

    def first_line() -> str:
        return tools.kubectl("logs", "-n", NAMESPACE, "job/training-killed", check=False)

    eventually(lambda: f"{MODEL} 1.0" in first_line())
    tools.kubectl(
        "delete",
        "pod",
        "-n",
        NAMESPACE,
        "-l",
        "batch.kubernetes.io/job-name=training-killed",
        "--force",
        "--wait=false",
    )
    tools.kubectl("wait", "-n", NAMESPACE, "job/training-killed", "--for=condition=Complete", "--timeout=120s")
    script = (
        "from sabia.registry import catalogue\n"
        "from sabia.registry.verification import read_version\n"
        "from sabia.store.objects import Store\n"
        "store = Store.open('s3://sabia/killed')\n"
        f"for version in catalogue.versions(store, '{MODEL}'):\n"
        f"    read_version(store, '{MODEL}', version)\n"
        "    print(version)"
    )
    assert tools.run_pod(script, secret="models-s3").split() == SIX


def test_deploying_gives_the_first_version_everything_and_the_next_nothing(served: Served) -> None:
    assert {version: (item["weight"], item["ready"]) for version, item in served.items()} == {
        "1.2": (100, True),
        "2.0": (0, True),
    }


def test_the_route_that_deploying_made_is_the_one_of_the_manifests(split: None) -> None:
    before = tools.get("httproute", MODEL)["spec"]
    tools.apply_folder("traffic")
    tools.traffic("1.2=100", "2.0=0")
    assert tools.get("httproute", MODEL)["spec"] == before


def test_kserves_client_gets_v1_and_v2_answers_through_the_gateway(served: Served, url: str, dataset: Dataset) -> None:
    rows = dataset.features[:3]
    headers = {"host": HOST, "x-model-version": "2.0"}
    body = {"instances": rows.tolist()}
    one = with_client("v1", lambda client: client.infer(url, body, model_name=MODEL, headers=headers))
    tensor = InferInput(name="features", shape=list(rows.shape), datatype="FP64")
    tensor.set_data_from_numpy(rows, binary_data=True)
    request = InferRequest(model_name=MODEL, infer_inputs=[tensor], parameters={"binary_data_output": True})
    two = with_client("v2", lambda client: client.infer(url, request, model_name=MODEL, headers=headers))
    assert np.array_equal(two.outputs[0].as_numpy(), one["predictions"])
    assert len(one["predictions"]) == 3


def test_the_split_is_inside_the_binomial_interval(split: None, url: str, row: list[float]) -> None:
    tools.traffic("1.2=90", "2.0=10")
    number = 2000
    with requests.Session() as session:
        seen = Counter(tools.ask(url, row, session=session).headers["x-model-version"] for _ in range(number))
    low, high = interval(number, 0.1, 0.999)
    tools.report("a split of 90 to 10", {"requests": number, "seen": seen, "interval of 2.0": [low, high]})
    assert low <= seen["2.0"] <= high
    assert sum(seen.values()) == number


def test_a_header_pins_a_version_whatever_the_weights(split: None, url: str, row: list[float]) -> None:
    for version in ("1.2", "2.0"):
        answers = [tools.ask(url, row, headers={"x-model-version": version}) for _ in range(100)]
        assert {(answer.status_code, answer.headers["x-model-version"]) for answer in answers} == {(200, version)}


def test_a_shadow_sees_every_request_and_no_client_sees_its_answers(split: None, url: str, row: list[float]) -> None:
    before = tools.status()["2.0"]["requests"]
    assert tools.traffic("--mirror", "2.0") == {"weights": {"1.2": 100, "2.0": 0}, "mirror": "2.0"}
    eventually(lambda: tools.ask(url, row).ok and tools.status()["2.0"]["requests"] > before)
    before = tools.status()["2.0"]["requests"]
    answers = [tools.ask(url, row) for _ in range(100)]
    assert {answer.headers["x-model-version"] for answer in answers} == {"1.2"}
    eventually(lambda: tools.status()["2.0"]["requests"] == before + 100)


def test_the_command_asks_through_the_gateway(served: Served, url: str, row: list[float]) -> None:
    done = tools.sabia("predict", json.dumps([row]), "--version", "2.0", "--gateway", url, "--model", MODEL, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["version"], len(answer["predictions"])) == (200, "2.0", 1)


def test_other_paths_of_a_predictor_are_not_reached(served: Served, url: str) -> None:
    for path in ("/metrics", "/", "/v1/models", f"/v2/repository/models/{MODEL}/unload"):
        assert requests.get(f"{url}{path}", headers={"host": HOST}, timeout=5).status_code == 404


def test_kubectl_apply_alone_serves_a_version_too(training: dict[str, list[str]]) -> None:
    """As a ServingRuntime, for those who prefer `model:`."""
    tools.apply_folder("servingruntime")
    name = "breast-cancer-v1-2-model"
    tools.kubectl("wait", "-n", NAMESPACE, f"inferenceservice/{name}", "--for=condition=Ready", "--timeout=120s")
    (pod,) = tools.pods_of(name)
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:8080/proxy/v1/models/{MODEL}"
    assert tools.kubectl("get", "--raw", path) == '{"name":"breast-cancer","ready":true}'
    tools.kubectl("delete", "-n", NAMESPACE, f"inferenceservice/{name}", "servingruntime/sabia", "--wait=false")
