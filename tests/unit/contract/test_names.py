from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sabia.contract import names
from sabia.contract.layout import Version

MODELS = st.from_regex(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
VERSIONS = st.builds(Version, st.integers(0, 999), st.integers(0, 999))


def test_the_names_of_a_version() -> None:
    name = names.inference_service("breast-cancer", Version(1, 2))
    assert name == "breast-cancer-v1-2"
    assert names.service(name) == "breast-cancer-v1-2-predictor"
    assert names.inference_service("breast-cancer", Version(1, 2), baseline=True) == "breast-cancer-v1-2-baseline"
    assert names.baseline("1.2") == "1.2-baseline"


@given(MODELS, VERSIONS)
def test_the_service_of_a_version_is_a_dns_label(model: str, version: Version) -> None:
    name = names.service(names.inference_service(model, version))
    assert len(name) <= 63
    assert name[0].isalpha()


@given(VERSIONS)
def test_a_baseline_serves_the_version_that_it_copies(version: Version) -> None:
    number = str(version)
    assert (names.is_baseline(number), names.published(number)) == (False, number)
    copy = names.baseline(number)
    assert (names.is_baseline(copy), names.published(copy)) == (True, number)


def test_the_paths_are_those_of_the_protocols() -> None:
    assert names.v1_model("m") == "/v1/models/m"
    assert names.v1_predict("m") == "/v1/models/m:predict"
    assert names.v1_explain("m") == "/v1/models/m:explain"
    assert names.v2_model("m") == "/v2/models/m"
    assert names.v2_infer("m") == "/v2/models/m/infer"
