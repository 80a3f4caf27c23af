"""The documents of a version, and that they say which spec a pod was made from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sabia.contract.layout import Version
from sabia.contract.names import SPEC_ANNOTATION
from sabia.kubernetes import manifests
from sabia.kubernetes.documents import Code, stamp
from sabia.kubernetes.documents import documents as documents_of
from sabia.kubernetes.errors import ManifestProblem
from tests.unit.manifests.schemas import problems

Document = dict[str, Any]

MODEL = "breast-cancer"


def predictor(documents: list[Document]) -> Document:
    """The predictor of the InferenceService among documents."""
    found: Document = next(item for item in documents if item["kind"] == "InferenceService")["spec"]["predictor"]
    return found


def test_a_version_without_a_folder_is_made_as_one_that_has_one(tmp_path: Path) -> None:
    root = tmp_path / "manifests"
    for part in ("base", "components"):
        shutil.copytree(manifests.ROOT / part, root / part)
    made = documents_of(MODEL, Version(1, 2), namespace="sabia", root=root)
    kept = documents_of(MODEL, Version(1, 2), namespace="sabia")
    assert made == kept


def test_one_and_ten_are_served_each_from_its_own_place() -> None:
    places = []
    for minor in (1, 10):
        documents = documents_of("many", Version(1, minor), namespace="sabia")
        assert [problems(document) for document in documents] == [[]] * len(documents)
        places.append(manifests.predictor(documents, where="made").storage_uri)
    assert places == ["s3://sabia/models/many/1.1/", "s3://sabia/models/many/1.10/"]
    assert not places[1].startswith(places[0])


def test_everything_goes_to_the_namespace_that_was_asked_for() -> None:
    documents = documents_of(MODEL, Version(1, 2), namespace="elsewhere")
    assert {document["metadata"]["namespace"] for document in documents} == {"elsewhere"}


def test_a_folder_that_is_of_another_version_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "manifests"
    shutil.copytree(manifests.ROOT, root)
    data = root / "versions" / f"{MODEL}-v1-2" / "version.yaml"
    data.write_text(data.read_text().replace('version: "1.2"', 'version: "1.1"'))
    with pytest.raises(ManifestProblem, match=r"it is of breast-cancer 1\.1"):
        documents_of(MODEL, Version(1, 2), namespace="sabia", root=root)


def stamped(change: Document) -> str:
    """The digest that the pods of version 1.2 carry after a change to its predictor."""
    documents = documents_of(MODEL, Version(1, 2), namespace="sabia")
    predictor(documents).update(change)
    wanted = stamp(documents)
    assert predictor(documents)["annotations"] == {SPEC_ANNOTATION: wanted.digest}
    assert stamp(documents) == wanted, "stamping again changes nothing"
    return wanted.digest


def test_pods_are_told_apart_by_their_spec_and_not_by_their_number() -> None:
    assert stamped({}) == stamped({}) == stamped({"minReplicas": 3})
    assert stamped({}) != stamped({"terminationGracePeriodSeconds": 46})


def test_a_baseline_is_the_same_version_under_a_name_of_its_own() -> None:
    plain, copy_ = (
        documents_of("breast-cancer", Version(1, 2), namespace="sabia", baseline=baseline) for baseline in (False, True)
    )
    services = [next(item for item in found if item["kind"] == "InferenceService") for found in (plain, copy_)]
    assert services[1]["metadata"]["name"] == "breast-cancer-v1-2-baseline"
    assert services[1]["metadata"]["labels"]["sabia.dev/version"] == "1.2-baseline"
    containers = [service["spec"]["predictor"]["containers"] for service in services]
    assert containers[0] == containers[1]
    assert "breast-cancer-v1-2-baseline" in str([item for item in copy_ if item["kind"] == "PodDisruptionBudget"])


def test_faults_reach_the_server() -> None:
    found = documents_of("breast-cancer", Version(1, 2), namespace="sabia", faults="errors=0.5")
    service = next(item for item in found if item["kind"] == "InferenceService")
    (container,) = service["spec"]["predictor"]["containers"]
    assert {"name": "SABIA_FAULTS", "value": "errors=0.5"} in container["env"]


AIRTIME = Code("airtime:1.0", "airtime:AirTime")


def test_code_without_a_folder_is_made_as_code_that_has_one() -> None:
    made = documents_of("airtime", Version(1, 0), namespace="sabia", code=AIRTIME)
    assert made == manifests.render(manifests.ROOT / "code" / "airtime-v1-0")
    assert [problems(document) for document in made] == [[]] * len(made)
    wanted = stamp(made)
    assert (wanted.model, wanted.version, wanted.replicas) == ("airtime", "1.0", 1)


def test_a_class_around_an_artifact_gets_the_artifact_of_its_version() -> None:
    code = Code("percent:3", "team.percent:Percent", artifact=True)
    (container,) = predictor(documents_of(MODEL, Version(1, 2), namespace="sabia", code=code))["containers"]
    assert {"name": "STORAGE_URI", "value": f"s3://sabia/models/{MODEL}/1.2/"} in container["env"]
    assert container["args"][-1] == "--model_class=team.percent:Percent"
    assert container["image"] == "percent:3"


def test_code_is_not_a_predictor_of_one_machine() -> None:
    documents = documents_of("airtime", Version(1, 0), namespace="sabia", code=AIRTIME)
    with pytest.raises(ManifestProblem, match=r"airtime-v1-0: it serves no artifact; an image of your own runs on a"):
        manifests.predictor(documents, where="airtime-v1-0")
