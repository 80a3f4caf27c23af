"""manifest.json: the claim of a version, and the list of its files.

The structs below are schema 2; `docs/schemas/manifest.schema.json` is made from them (`scripts/write_schema.py`). A
manifest of schema 1 is read into the same structs: see `sabia.contract.manifest1`. Readers refuse fields that they do
not know: a new field, also an optional one, needs a higher `SCHEMA_VERSION`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from sabia.contract import manifest1
from sabia.contract.errors import InvalidManifest, InvalidName, InvalidSignature, UnknownSchema
from sabia.contract.layout import Version, check_model_name
from sabia.contract.signature import Bins, Input, Name, Output, Signature, check

SCHEMA_VERSION = 2
READABLE = (1, 2)

MODEL_FILE = "model.onnx"
STATE_FILE = "state.json"
REFERENCE_FILE = "reference.json"
CARD_FILE = "CARD.md"

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
# One folder named for the digest, one plain file name in it: nothing that could leave the folder of the version.
FilePath = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}/[A-Za-z0-9][A-Za-z0-9._-]*$")]
# A zero-byte object never arrives: KServe's storage initializer skips it.
FileSize = Annotated[int, msgspec.Meta(gt=0)]


Task = Literal["binary", "multi-class", "regression", "multi-output", "custom"]


class Methods(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fingerprint that the version rule compares, and its readable parts.

    Attributes:
        estimator: the chain of classes that was converted; empty for a graph that was published as it is.
        graph: digest of the graph without its weights; None when there is no graph.
        code_major: raised by the trainer when the same graph is to count as other methods.
    """

    fingerprint: Sha256
    estimator: list[str] = []
    graph: Sha256 | None = None
    code_major: int = 1


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Metrics by name, measured on `rows` rows that training did not see (0: none were given).

    `parity_max_error` is the served model's largest distance to the estimator, or to the answers that were given.
    """

    task: Task
    rows: Annotated[int, msgspec.Meta(ge=0)]
    values: dict[str, float]
    parity_max_error: float | None


class Runtime(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What answers: ONNX Runtime with the version's graph, or the class `model_class` in an image.

    Only "onnx" is data. "kserve-model" runs the code in `image`, which is named by its digest.

    Attributes:
        prepack: whether ONNX Runtime may copy weights into the order in which it multiplies, which makes batches faster
            and needs memory for the largest of them twice. False where that is much of the model.
    """

    kind: Literal["onnx", "kserve-model"] = "onnx"
    image: str | None = None
    model_class: str | None = None
    prepack: bool = True


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file of the version: `<content digest>/<name>`."""

    path: FilePath
    size: FileSize
    sha256: Sha256

    @property
    def name(self) -> str:
        """The file's own name, without the folder of the digest."""
        return self.path.partition("/")[2]


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rows that the state was trained on."""

    uri: str
    sha256: Sha256
    rows: int


class Git(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The commit of the code; `dirty`: the tree had uncommitted changes."""

    commit: str
    dirty: bool


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The origin of the version: data, code and libraries."""

    dataset: Dataset | None
    git: Git | None
    python: str
    libraries: dict[str, str]
    opset: dict[str, int]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One version of one model."""

    schema_version: int
    name: str
    version: str
    created_at: str
    methods: Methods
    hyper_params: dict[str, Any]
    inputs: Annotated[list[Input], msgspec.Meta(min_length=1)]
    outputs: Annotated[list[Output], msgspec.Meta(min_length=1)]
    primary: Name
    bins: Bins
    target: str
    metrics: Evaluation
    files: list[File]
    provenance: Provenance
    parent: str | None
    runtime: Runtime = Runtime()

    @property
    def signature(self) -> Signature:
        """Inputs, outputs and bins."""
        return Signature(inputs=self.inputs, outputs=self.outputs, primary=self.primary, bins=self.bins)

    def file(self, name: str) -> File:
        """The entry of the file called `name`.

        Raises:
            InvalidManifest: the manifest does not name it.
        """
        for entry in self.files:
            if entry.name == name:
                return entry
        raise InvalidManifest(f"it names no {name}")

    @property
    def number(self) -> Version:
        """The version, ordered as numbers are."""
        return Version.parse(self.version)

    @property
    def digest(self) -> str:
        """The content digest: the folder that holds its files."""
        return self.files[0].path.partition("/")[0]


def content_digest(files: Mapping[str, bytes | Path]) -> str:
    """Sha256 over the sorted lines `<sha256 of the file>  <name>` of every file except the card.

    The card is prose about the content. Were it part of the digest, a better sentence would be a new version.
    """
    return digest_of({name: sha256(data) for name, data in files.items() if name != CARD_FILE})


def digest_of(digests: Mapping[str, str]) -> str:
    """The content digest of files whose own digests are known, by name; the card is left out."""
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items()) if name != CARD_FILE]
    return sha256("".join(lines).encode())


def sha256(data: bytes | Path) -> str:
    """The digest that manifests use, in lower-case hexadecimal; a file is read in pieces."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(
    signature: Signature, *, graph: str | None = None, estimator: Sequence[str] = (), code_major: int = 1
) -> Methods:
    """The methods with their fingerprint: signature, graph without weights, estimator classes, code major."""
    parts = {
        "code_major": code_major,
        "estimator": list(estimator),
        "graph": graph,
        "signature": signature.methods(),
    }
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return Methods(
        fingerprint=sha256(canonical.encode()), estimator=list(estimator), graph=graph, code_major=code_major
    )


def encode(manifest: Manifest) -> bytes:
    """The bytes of manifest.json: readable, and the same for the same manifest."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"


def decode(data: bytes) -> Manifest:
    """Read manifest.json.

    Raises:
        UnknownSchema: another release wrote it.
        InvalidManifest: anything else that the schema does not allow.
    """
    try:
        manifest = _read(data)
        check_model_name(manifest.name)
        Version.parse(manifest.version)
        check(manifest.signature, names=manifest.schema_version > 1)
    except (msgspec.ValidationError, InvalidName, InvalidSignature) as error:
        raise InvalidManifest(str(error).rstrip(".")) from error
    _check_consistency(manifest)
    return manifest


def check_publishable(manifest: Manifest) -> None:
    """Check what reading alone does not: a version that is claimed must be servable.

    Raises:
        InvalidSignature: inputs, outputs or bins contradict themselves, or a name cannot be served.
        InvalidManifest: a metric is not a finite number, or the manifest cannot be read back.
    """
    check(manifest.signature)
    for name, value in manifest.metrics.values.items():
        if not math.isfinite(value):
            raise InvalidManifest(f"metric {name!r} is not a finite number")
    if decode(encode(manifest)) != manifest:
        raise InvalidManifest("it does not read back as it was written")


def _read(data: bytes) -> Manifest:
    # First, and alone: a later schema may differ in everything else, and the error should name the real reason.
    if _schema_version(data) == 1:
        return msgspec.convert(manifest1.upgrade(data), Manifest)
    return msgspec.json.decode(data, type=Manifest)


def _schema_version(data: bytes) -> int:
    try:
        # Of a repeated key, parsers keep the first or the last: all readers must agree on what was published.
        head = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InvalidManifest("it is not JSON") from error
    if not isinstance(head, dict):
        raise InvalidManifest("it is not a JSON object")
    given = head.get("schema_version")
    if type(given) is not int or given not in READABLE:
        raise UnknownSchema(given, READABLE)
    return given


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        names = [name for name, _ in pairs]
        raise InvalidManifest(f"{next(name for name in names if names.count(name) > 1)!r} appears twice")
    return mapping


def _no_number(constant: str) -> None:
    raise InvalidManifest(f"{constant} is not a number of JSON")


def _check_consistency(manifest: Manifest) -> None:
    names = [entry.name for entry in manifest.files]
    folders = {entry.path.partition("/")[0] for entry in manifest.files}
    if len(set(names)) != len(names) or len(folders) != 1:
        raise InvalidManifest("its files must have one name each and be in one folder")
    if manifest.digest != digest_of({entry.name: entry.sha256 for entry in manifest.files}):
        raise InvalidManifest("its files are not those of its content digest")
    for needed in (MODEL_FILE, STATE_FILE, REFERENCE_FILE) if manifest.runtime.kind == "onnx" else (STATE_FILE,):
        manifest.file(needed)
    input_names = [each.name for each in manifest.inputs]
    if not input_names or len(set(input_names)) != len(input_names):
        raise InvalidManifest("inputs must be named, each once")
    if manifest.primary not in {each.name for each in manifest.outputs}:
        raise InvalidManifest(f"its primary output {manifest.primary!r} is not one of its outputs")
