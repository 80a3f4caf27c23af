from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from sabia.contract.errors import InvalidFile, InvalidManifest, UnknownSchema
from sabia.contract.manifest import content_digest, decode, encode, fingerprint
from sabia.contract.signature import Input
from sabia.registry.claim import publish
from sabia.registry.verification import Artifact
from sabia.store.objects import Store
from tests.drafts import SIGNATURE, a_draft

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas" / "manifest.schema.json"


@pytest.fixture
def document(store: Store) -> dict[str, Any]:
    """A good manifest, as JSON."""
    found: dict[str, Any] = json.loads(encode(publish(store, a_draft()).manifest))
    return found


def test_a_manifest_reads_back_what_it_writes(store: Store) -> None:
    manifest = publish(store, a_draft()).manifest
    assert decode(encode(manifest)) == manifest


def test_a_real_manifest_follows_the_published_schema(linear: Artifact) -> None:
    jsonschema.validate(json.loads(encode(linear.manifest)), json.loads(PUBLISHED.read_text()))


@pytest.mark.parametrize("found", [0, 3, "1", None, True, 1.0])
def test_another_schema_version_is_refused_by_that_reason_alone(found: object) -> None:
    with pytest.raises(UnknownSchema, match="schema_version"):
        decode(json.dumps({"schema_version": found, "everything": "else differs"}).encode())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_another_document_than_a_json_object_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidFile):
        decode(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Not A Name"),
        ("version", "1"),
        ("files", []),
        ("inputs", []),
        ("outputs", []),
        ("primary", "other"),
        ("metrics", {"task": "binary", "rows": 1, "values": {"accuracy": "high"}}),
        ("surprise", 1),
        ("target", None),
    ],
)
def test_a_wrong_field_is_refused(document: dict[str, Any], field: str, value: object) -> None:
    with pytest.raises(InvalidManifest):
        decode(json.dumps(document | {field: value}).encode())


@pytest.mark.parametrize(
    "path",
    [
        "model.onnx",
        "../../etc/passwd",
        "{d}/../model.onnx",
        "/{d}/model.onnx",
        "{d}/a/b",
        "{d}/.hidden",
        "{d}\\model.onnx",
    ],
)
def test_a_path_that_could_leave_the_version_is_refused(document: dict[str, Any], path: str) -> None:
    document["files"][0]["path"] = path.format(d="0" * 64)
    with pytest.raises(InvalidManifest, match=r"files\[0\]\.path"):
        decode(json.dumps(document).encode())


@pytest.mark.parametrize(("field", "value"), [("size", 0), ("size", -1), ("sha256", "ABC")])
def test_a_file_has_a_size_and_a_digest(document: dict[str, Any], field: str, value: object) -> None:
    document["files"][0][field] = value
    with pytest.raises(InvalidManifest, match=field):
        decode(json.dumps(document).encode())


def test_a_file_named_twice_is_refused(document: dict[str, Any]) -> None:
    document["files"].append(document["files"][0])
    with pytest.raises(InvalidManifest, match="one name each"):
        decode(json.dumps(document).encode())


def test_a_key_that_is_there_twice_is_refused_wherever_it_is(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for again in ('"name": "toy"', '"size": 1', '"dtype": "float64"'):
        field = again.partition(":")[0]
        with pytest.raises(InvalidManifest, match="appears twice"):
            decode(text.replace(field, f"{again}, {field}", 1).encode())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_of_json_is_refused(document: dict[str, Any], number: str) -> None:
    document["metrics"]["values"] = {"accuracy": "here"}
    with pytest.raises(InvalidManifest, match="not a number"):
        decode(json.dumps(document).replace('"here"', number).encode())


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"minimum": 2.0, "maximum": 1.0}, "minimum of input 'x' is above its maximum"),
        ({"name": "x\u0000"}, "has a control character"),
        ({"name": " x"}, "starts or ends with space"),
        ({"shape": [2]}, "must be null, for the rows"),
    ],
)
def test_a_signature_that_contradicts_itself_is_refused_when_it_is_read(
    document: dict[str, Any], changed: dict[str, Any], problem: str
) -> None:
    document["inputs"][0] |= {"name": "x"} | changed
    with pytest.raises(InvalidManifest, match=problem):
        decode(json.dumps(document).encode())


@pytest.mark.parametrize("bins", [{"kind": "edges", "edges": [2.0, 1.0]}, {"kind": "classes", "classes": ["a", "a"]}])
def test_bins_that_contradict_themselves_are_refused_when_they_are_read(
    document: dict[str, Any], bins: dict[str, Any]
) -> None:
    with pytest.raises(InvalidManifest, match="bins"):
        decode(json.dumps(document | {"bins": bins}).encode())


def test_the_content_digest_covers_names_and_bytes_but_not_the_card() -> None:
    files = {"a": b"1", "b": b"2"}
    assert content_digest(files) == content_digest(files | {"CARD.md": b"prose"})
    assert content_digest(files) != content_digest({"a": b"2", "b": b"1"})
    assert content_digest(files) != content_digest({"a": b"1", "c": b"2"})


def test_the_order_of_the_features_is_part_of_the_methods() -> None:
    columns = [Input(name="x", dtype="float64"), Input(name="y", dtype="float64")]
    one, other = (
        fingerprint(msgspec.structs.replace(SIGNATURE, inputs=order)).fingerprint for order in (columns, columns[::-1])
    )
    assert one != other


@pytest.mark.parametrize("learned", [{"minimum": -1.0}, {"maximum": 9.0}, {"nullable": True}])
def test_what_training_data_determined_is_not_part_of_the_methods(learned: dict[str, Any]) -> None:
    changed = msgspec.structs.replace(SIGNATURE, inputs=[msgspec.structs.replace(SIGNATURE.inputs[0], **learned)])
    assert fingerprint(changed) == fingerprint(SIGNATURE)


@pytest.mark.parametrize("other", [{"graph": "0" * 64}, {"estimator": ["other"]}, {"code_major": 2}])
def test_another_graph_estimator_or_code_major_is_other_methods(other: dict[str, Any]) -> None:
    assert fingerprint(SIGNATURE, **other).fingerprint != fingerprint(SIGNATURE).fingerprint
