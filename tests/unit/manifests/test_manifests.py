"""Every kustomization renders, every document is one that a real cluster accepts, and they say what they should."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

import sabia
from sabia.contract.layout import Version, version_prefix
from sabia.kubernetes.definition import camel_case
from sabia.kubernetes.manifests import ROOT, predictor, render, route
from sabia.kubernetes.programs import installed
from sabia.rollout.plan import Errors, Labels, Latency, Plan, Predictions
from tests.unit.manifests.folders import KUSTOMIZATIONS
from tests.unit.manifests.schemas import FOLDER, problems

Document = dict[str, Any]

VERSIONS = sorted(path.parent for path in (ROOT / "versions").glob("*/version.yaml"))
CODE = sorted(path.parent for path in (ROOT / "code").glob("*/version.yaml"))


def named(documents: list[Document], kind: str) -> Document:
    """The one document of a kind."""
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def container(documents: list[Document]) -> Document:
    """The container of the InferenceService."""
    (found,) = named(documents, "InferenceService")["spec"]["predictor"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=str)
def test_every_document_is_one_that_the_cluster_takes_whole(folder: Path) -> None:
    documents = render(ROOT / folder)
    assert documents
    assert {f"{item['kind']} {item['metadata']['name']}": problems(item) for item in documents if problems(item)} == {}


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=str)
def test_kustomize_has_nothing_to_warn_of(folder: Path) -> None:
    command = [installed("kubectl"), "kustomize", str(ROOT / folder)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "predictor", "containers"), None),
        (("spec", "predictor", "minReplicas"), "one"),
        (("spec", "predictor", "surprise"), 1),
        (("spec", "predictor", "deploymentStrategy", "rollingUpdate", "maxSruge"), 1),
    ],
)
def test_the_schemas_refuse_what_the_cluster_would_refuse_or_drop(path: tuple[str, ...], value: object) -> None:
    """A check that cannot fail proves nothing."""
    document = copy.deepcopy(named(render(VERSIONS[0]), "InferenceService"))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert problems(document)


def test_the_schemas_are_of_the_platform_that_the_manifests_are_for() -> None:
    versions = json.loads((FOLDER / "versions.json").read_text())
    assert versions["kserve"] == "v0.20.0"
    assert set(versions) == {"kserve", "kubernetes", "gateway-api"}


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: str(folder.name))
def test_a_version_is_served_from_its_own_place_and_says_who_it_must_be(folder: Path) -> None:
    document = yaml.safe_load((folder / "version.yaml").read_text())
    data = document["spec"]
    number = Version.parse(data["version"])
    assert folder.name == document["metadata"]["name"] == f"{data['model']}-v{number.major}-{number.minor}"
    documents = render(folder)
    spec = predictor(documents, where=folder.name)
    assert spec.storage_uri == f"s3://sabia/{version_prefix(data['model'], number)}"
    assert spec.args == [f"--model_name={data['model']}", f"--model_version={number}"]
    assert spec.readiness.path == spec.startup.path == f"/v1/models/{data['model']}"
    for kind, selector in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        labels = named(documents, kind)["spec"][selector]["matchLabels"]
        assert labels == {"serving.kserve.io/inferenceservice": folder.name}


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: str(folder.name))
def test_a_version_runs_in_standard_mode_reached_only_through_the_route(folder: Path) -> None:
    metadata = named(render(folder), "InferenceService")["metadata"]
    assert metadata["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert metadata["annotations"]["serving.kserve.io/autoscalerClass"] == "none"
    assert metadata["labels"]["networking.kserve.io/visibility"] == "cluster-local"


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: str(folder.name))
def test_a_pod_has_no_root_no_writable_root_and_no_token(folder: Path) -> None:
    documents = render(folder)
    pod, context = named(documents, "InferenceService")["spec"]["predictor"], container(documents)["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: str(folder.name))
def test_a_pod_has_time_to_leave_in_order(folder: Path) -> None:
    """The gateway's time, the predictor's drain and grace, the last of the log, all before the kubelet kills."""
    from sabia.serving.process.server import LOG_SECONDS
    from sabia.serving.settings import Settings

    documents = render(folder)
    sleep = int(container(documents)["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = named(documents, "InferenceService")["spec"]["predictor"]["terminationGracePeriodSeconds"]
    assert sleep + Settings().drain_seconds + Settings().grace_seconds + LOG_SECONDS < grace


def test_versions_and_code_of_one_namespace_stand_in_one_kustomization(tmp_path: Path) -> None:
    for part in ("base", "components", "versions", "code"):
        shutil.copytree(ROOT / part, tmp_path / part)
    folders = [*VERSIONS, *CODE]
    kustomization = {"kind": "Kustomization", "resources": [str(folder.relative_to(ROOT)) for folder in folders]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    documents = render(tmp_path)
    services = [item for item in documents if item["kind"] == "InferenceService"]
    assert {item["metadata"]["name"] for item in services} == {folder.name for folder in folders}
    # Each reads the store through an account of its own: removing one leaves the others theirs.
    accounts = [item["metadata"]["name"] for item in documents if item["kind"] == "ServiceAccount"]
    assert sorted(accounts) == sorted(item["spec"]["predictor"]["serviceAccountName"] for item in services)
    assert len(set(accounts)) == len(folders)


@pytest.mark.parametrize("folder", CODE, ids=lambda folder: str(folder.name))
def test_code_runs_in_its_image_without_an_artifact_and_as_restricted_as_a_version(folder: Path) -> None:
    data = yaml.safe_load((folder / "version.yaml").read_text())["spec"]
    documents = render(folder)
    found = container(documents)
    named_by = [f"--model_name={data['model']}", f"--model_version={data['version']}"]
    assert found["args"] == [*named_by, f"--model_class={data['modelClass']}"]
    assert (found["image"], found["command"]) == (data["image"], ["python", "-m", "predictor"])
    assert [each["name"] for each in found["env"]] == ["SABIA_BEHIND_GATEWAY", "SABIA_LOG", "SABIA_LOG_SPOOL"]
    assert found["readinessProbe"]["httpGet"]["path"] == f"/v1/models/{data['model']}"
    assert found["securityContext"] == container(render(VERSIONS[0]))["securityContext"]


@pytest.mark.parametrize("folder", ["servingruntime", "knative"])
def test_the_alternatives_read_the_store_through_an_account_of_their_own(folder: str) -> None:
    documents = render(ROOT / folder)
    service = named(documents, "InferenceService")
    assert named(documents, "ServiceAccount")["metadata"]["name"] == service["spec"]["predictor"]["serviceAccountName"]


def test_the_route_sends_every_call_to_a_version_that_has_a_folder() -> None:
    services = {predictor(render(folder), where=folder.name).service for folder in VERSIONS}
    assert set(route(render(ROOT / "traffic"), where="traffic").services) <= services


def test_the_route_matches_each_call_and_nothing_else() -> None:
    """No bare prefix: /metrics and what else a predictor offers stay inside. A path of V2 with a version pins it."""
    spec = route(render(ROOT / "traffic"), where="traffic")
    every = {
        ("/v1/models/breast-cancer", True),
        ("/v1/models/breast-cancer:predict", True),
        ("/v1/models/breast-cancer:explain", True),
        ("/v2/models/breast-cancer", False),
    }
    for rule in spec.rules:
        version = rule.matches[0].headers.get("x-model-version")
        own = {(f"/v2/models/breast-cancer/versions/{version}", False)} if version else set()
        assert {(match.path, match.exact) for match in rule.matches} == every | own


def test_each_version_of_the_split_can_be_pinned() -> None:
    spec = route(render(ROOT / "traffic"), where="traffic")
    pins = {next(iter(rule.weights)): rule.matches[0].headers for rule in spec.pins}
    assert set(pins) == set(spec.split.weights)
    for folder in VERSIONS:
        version = predictor(render(folder), where=folder.name)
        assert pins[version.service] == {"x-model-version": version.version}


def test_the_weights_of_the_split_are_percentages() -> None:
    assert sum(route(render(ROOT / "traffic"), where="traffic").split.weights.values()) == 100


def test_kserves_ingress_setting_is_given_whole() -> None:
    """The controller reads it as one document; without `ingressGateway`, which Standard mode does not use, it stops."""
    settings = named(render(ROOT / "platform" / "kserve-settings"), "ConfigMap")["data"]
    ingress = json.loads(settings["ingress"])
    assert ingress["enableGatewayApi"] is True
    gateway = named(render(ROOT / "platform" / "gateway"), "Gateway")["metadata"]
    assert ingress["kserveIngressGateway"] == f"{gateway['namespace']}/{gateway['name']}"
    assert {"ingressGateway", "localGateway", "localGatewayService", "ingressDomain", "domainTemplate"} <= set(ingress)


def test_an_autoscaled_version_is_the_target_of_its_autoscaler() -> None:
    documents = render(ROOT / "autoscaling" / "breast-cancer-v1-2")
    spec = predictor(documents, where="autoscaling")
    scaler = named(documents, "HorizontalPodAutoscaler")
    assert (scaler["metadata"]["name"], scaler["spec"]["scaleTargetRef"]["name"]) == (spec.name, spec.service)
    assert scaler["spec"]["minReplicas"] >= 2
    annotations = named(documents, "InferenceService")["metadata"]["annotations"]
    assert annotations["serving.kserve.io/autoscalerClass"] == "external"


def test_the_jobs_of_a_second_model_differ_in_name_and_model_alone() -> None:
    first, second = render(ROOT / "monitoring" / "jobs"), render(ROOT / "monitoring" / "flights")
    assert {job["metadata"]["name"] for job in second} == {"drift-flights", "report-flights"}
    for job, of_another in zip(first, second, strict=True):
        job["metadata"]["name"] += "-flights"
        args = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
        assert args[0] == "breast-cancer"
        args[0] = "flights"
        assert of_another == job


def test_the_page_of_every_model_differs_from_the_page_of_one_in_its_model_alone() -> None:
    one, every = render(ROOT / "dash" / "show"), render(ROOT / "dash" / "models")
    args = named(one, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    args.remove("--model=breast-cancer")
    assert every == one


def test_the_shadow_gets_copies_and_no_share() -> None:
    spec = route(render(ROOT / "shadow"), where="shadow")
    (shadow,) = spec.split.mirrors
    assert spec.split.weights[shadow] == 0
    assert sum(spec.split.weights.values()) == 100


def test_servers_use_the_small_image_and_everything_else_the_full_one() -> None:
    """Both of this release, from one build; MinIO and KServe's initializer are others'."""
    images: dict[str, set[str]] = {}
    for path in ROOT.rglob("*.yaml"):
        for line in path.read_text().splitlines():
            if line.strip().startswith("image: "):
                image = line.split("image:")[1].split("#")[0].strip()
                images.setdefault(image, set()).add(path.relative_to(ROOT).parts[0])
    assert images.pop(f"sabia:{sabia.__version__}") == {"base", "knative", "servingruntime"}
    assert images.pop(f"sabia-full:{sabia.__version__}") == {"dash", "monitoring", "operator", "store", "training"}
    assert set(images) == {"minio", "docker.io/kserve/storage-initializer:v0.20.0", "airtime:1.0"}
    example = ROOT.resolve().parent / "examples" / "airtime" / "Dockerfile"
    assert f"ARG SABIA=sabia-full:{sabia.__version__}\n" in example.read_text()


def a_rollout_schema() -> Document:
    """The schema of a `Rollout`, from its definition."""
    documents = render(ROOT / "operator")
    (definition,) = (item for item in documents if item["kind"] == "CustomResourceDefinition")
    schema: Document = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def spec_fields(struct: type[msgspec.Struct]) -> set[str]:
    """The fields of a part of a plan, as a resource names them."""
    return {camel_case(field.name) for field in msgspec.structs.fields(struct)}


def test_a_rollouts_spec_has_the_fields_of_a_plan_and_an_action() -> None:
    properties = a_rollout_schema()["properties"]["spec"]["properties"]
    assert set(properties) == (spec_fields(Plan) - {"canary"}) | {"canaries", "action"}
    for name, struct in (("errors", Errors), ("latency", Latency), ("predictions", Predictions), ("labels", Labels)):
        fields = spec_fields(struct)
        assert set(properties["watch"]["properties"][name]["properties"]) == fields


def test_every_field_of_a_plan_that_may_not_change_is_guarded() -> None:
    spec = a_rollout_schema()["properties"]["spec"]
    guarded = {
        match for rule in spec["x-kubernetes-validations"] for match in re.findall(r"self\.(\w+) ==", rule["rule"])
    }
    assert guarded == (spec_fields(Plan) - {"canary"}) | {"canaries"}


def test_the_stores_set_up_may_read_the_secrets_that_it_makes() -> None:
    spec = importlib.util.spec_from_file_location("setup", ROOT / "store" / "minio" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    setup = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(setup)
    roles = [item for item in render(ROOT / "store" / "minio") if item["kind"] in ("Role", "ClusterRole")]
    named = {name for role in roles for rule in role["rules"] for name in rule.get("resourceNames", [])}
    assert {secret for secret, _ in setup.USERS.values()} | {"minio-root"} <= named
