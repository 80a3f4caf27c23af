"""What a stack serves: manifests, versions without one, and the changes of both; for one model and for several."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from sabia.contract.errors import InvalidName
from sabia.kubernetes.errors import ManifestProblem
from sabia.kubernetes.manifests import ROOT
from sabia.local.composition import Composition, Serving, compose


@pytest.fixture(scope="module")
def two_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of manifests like the package's, with a second model beside the first."""
    root = tmp_path_factory.mktemp("user") / "manifests"
    root.mkdir()
    for part in ("base", "components", "traffic", "versions"):
        shutil.copytree(ROOT / part, root / part)
    route = (root / "traffic" / "httproute.yaml").read_text()
    for version in ("1-2", "2-0"):
        folder = root / "versions" / f"flights-v{version}"
        shutil.copytree(root / "versions" / f"breast-cancer-v{version}", folder)
        text = (folder / "version.yaml").read_text().replace("breast-cancer", "flights")
        (folder / "version.yaml").write_text(text)
    (root / "traffic" / "flights.yaml").write_text(route.replace("breast-cancer", "flights"))
    kustomization = yaml.safe_load((root / "traffic" / "kustomization.yaml").read_text())
    kustomization["resources"].append("flights.yaml")
    (root / "traffic" / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return root


def versions(found: Composition) -> dict[str, list[str]]:
    """The versions of each model."""
    return {model: [spec.version for spec in found.of_model(model)] for model in found.routes}


def test_manifests_of_several_models_make_a_route_for_each(two_models: Path) -> None:
    found = compose(two_models, Serving())
    assert versions(found) == {"breast-cancer": ["1.2", "2.0"], "flights": ["1.2", "2.0"]}
    assert found.routes["flights"].split.weights == {"flights-v1-2-predictor": 90, "flights-v2-0-predictor": 10}
    assert {match.path for match in found.routes["flights"].split.matches} == {
        "/v1/models/flights",
        "/v1/models/flights:predict",
        "/v1/models/flights:explain",
        "/v2/models/flights",
    }


def test_a_change_is_of_the_model_that_it_names(two_models: Path) -> None:
    serving = Serving(["flights/3.0"], {"flights/1.2": 3}, {"breast-cancer/2.0": "errors=0.1"}, ["flights/2.0"])
    found = compose(two_models, serving)
    assert versions(found) == {"breast-cancer": ["1.2", "2.0"], "flights": ["1.2", "2.0", "3.0", "2.0-baseline"]}
    assert [(spec.model, spec.version) for spec in found.specs.values() if spec.replicas == 3] == [("flights", "1.2")]
    faulty = [(spec.model, spec.version) for spec in found.specs.values() if "SABIA_FAULTS" in spec.env]
    assert faulty == [("breast-cancer", "2.0")]
    assert found.routes["flights"].split.weights["flights-v3-0-predictor"] == 0


def test_versions_alone_need_no_manifest_and_the_first_of_a_model_gets_every_request() -> None:
    found = compose(None, Serving(["churn/1.0", "fraud/2.1", "churn/1.1"]))
    assert versions(found) == {"churn": ["1.0", "1.1"], "fraud": ["2.1"]}
    assert found.routes["churn"].split.weights == {"churn-v1-0-predictor": 100, "churn-v1-1-predictor": 0}
    assert found.routes["fraud"].split.weights == {"fraud-v2-1-predictor": 100}
    assert [spec.storage_uri for spec in found.of_model("churn")] == [
        "s3://sabia/models/churn/1.0/",
        "s3://sabia/models/churn/1.1/",
    ]


def test_the_only_model_need_not_be_named() -> None:
    assert versions(compose(ROOT, Serving(["2.1"], {"2.1": 2}))) == {"breast-cancer": ["1.2", "2.0", "2.1"]}


@pytest.mark.parametrize(
    ("serving", "problem"),
    [
        (Serving(["3.0"]), "3.0 names no model, and there are breast-cancer, flights; write MODEL/3.0"),
        (Serving(replicas={"flights/9.9": 2}), "there is no version 9.9 of flights; there are 1.2, 2.0"),
        (Serving(baselines=["iris/1.0"]), "there is no version 1.0 of iris; there are none"),
    ],
)
def test_what_is_not_served_cannot_be_changed(two_models: Path, serving: Serving, problem: str) -> None:
    with pytest.raises(ManifestProblem, match=problem):
        compose(two_models, serving)


def test_a_model_that_cannot_be_called_so_is_refused() -> None:
    with pytest.raises(InvalidName, match="model name"):
        compose(None, Serving(["Not a model/1.0"]))


@pytest.mark.parametrize("missing", ["versions", "traffic"])
def test_a_folder_without_manifests_is_refused_in_one_sentence(tmp_path: Path, missing: str) -> None:
    for part in {"base", "components", "versions", "traffic"} - {missing}:
        shutil.copytree(ROOT / part, tmp_path / part)
    with pytest.raises(ManifestProblem):
        compose(tmp_path, Serving())


def test_two_routes_of_one_model_are_refused(two_models: Path, tmp_path: Path) -> None:
    root = tmp_path / "manifests"
    shutil.copytree(two_models, root)
    again = (root / "traffic" / "flights.yaml").read_text().replace("name: flights\n", "name: flights-again\n")
    (root / "traffic" / "again.yaml").write_text(again)
    text = (
        (root / "traffic" / "kustomization.yaml").read_text().replace("- flights.yaml", "- flights.yaml\n- again.yaml")
    )
    (root / "traffic" / "kustomization.yaml").write_text(text)
    with pytest.raises(ManifestProblem, match="two routes of 'flights'"):
        compose(root, Serving())
