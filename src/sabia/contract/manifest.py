"""manifest.json: the claim of a version, and the list of its files.

The structs below are the format; `docs/schemas/manifest.schema.json` is made from them (`scripts/write_schema.py`).
Readers refuse fields that they do not know: a new field, also an optional one, needs a higher `SCHEMA_VERSION`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

import msgspec

from sabia.contract.errors import InvalidManifest, InvalidName, UnknownSchema
from sabia.contract.layout import Version, check_model_name

SCHEMA_VERSION = 1

MODEL_FILE = "model.onnx"
STATE_FILE = "state.json"
REFERENCE_FILE = "reference.json"
CARD_FILE = "CARD.md"

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
# One folder named for the digest, one plain file name in it: nothing that could leave the folder of the version.
FilePath = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}/[A-Za-z0-9][A-Za-z0-9._-]*$")]
# A zero-byte object never arrives: KServe's storage initializer skips it.
FileSize = Annotated[int, msgspec.Meta(gt=0)]


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One input column. `minimum` and `maximum` are those of the training rows, in `unit`."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    dtype: str
    unit: str
    minimum: float
    maximum: float


class Prediction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the model predicts: for `kind` "probability" a number in `range`, of `unit` 1."""

    kind: str
    unit: str
    range: tuple[float, float] | None


class Methods(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The code of the model in readable parts, and the fingerprint that the version rule compares."""

    fingerprint: Sha256
    estimator: list[str]
    features: list[tuple[str, str, str]]
    target: str
    prediction: str
    code_major: int


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Measured on held-out rows by the estimator; `parity_max_error` is the served model's largest distance to it."""

    rows: int
    accuracy: float
    roc_auc: float
    log_loss: float
    brier_score: float
    calibration_error: float
    parity_max_error: float


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

    dataset: Dataset
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
    features: list[Feature]
    target: str
    prediction: Prediction
    metrics: Evaluation
    files: list[File]
    provenance: Provenance
    parent: str | None

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


def content_digest(files: dict[str, bytes]) -> str:
    """Sha256 over the sorted lines `<sha256 of the file>  <name>` of every file except the card.

    The card is prose about the content. Were it part of the digest, a better sentence would be a new version.
    """
    lines = [f"{sha256(data)}  {name}\n" for name, data in sorted(files.items()) if name != CARD_FILE]
    return sha256("".join(lines).encode())


def sha256(data: bytes) -> str:
    """The digest that manifests use, in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def fingerprint(
    *, estimator: list[str], features: list[tuple[str, str, str]], target: str, prediction: str, code_major: int
) -> Methods:
    """The methods of a model and their fingerprint: estimator classes, feature schema (order included), code major."""
    parts = {
        "code_major": code_major,
        "estimator": estimator,
        "features": [list(feature) for feature in features],
        "prediction": prediction,
        "target": target,
    }
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return Methods(
        fingerprint=sha256(canonical.encode()),
        estimator=estimator,
        features=features,
        target=target,
        prediction=prediction,
        code_major=code_major,
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
    _check_schema_version(data)
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        check_model_name(manifest.name)
        Version.parse(manifest.version)
    except (msgspec.ValidationError, InvalidName) as error:
        raise InvalidManifest(str(error).rstrip(".")) from error
    _check_consistency(manifest)
    return manifest


def _check_schema_version(data: bytes) -> None:
    # First, and alone: a later schema may differ in everything else, and the error should name the real reason.
    try:
        head = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidManifest("it is not JSON") from error
    if not isinstance(head, dict):
        raise InvalidManifest("it is not a JSON object")
    given = head.get("schema_version")
    if type(given) is not int or given != SCHEMA_VERSION:
        raise UnknownSchema(given, SCHEMA_VERSION)


def _check_consistency(manifest: Manifest) -> None:
    names = [entry.name for entry in manifest.files]
    folders = {entry.path.partition("/")[0] for entry in manifest.files}
    if len(set(names)) != len(names) or len(folders) != 1:
        raise InvalidManifest("its files must have one name each and be in one folder")
    for needed in (MODEL_FILE, STATE_FILE, REFERENCE_FILE):
        manifest.file(needed)
    feature_names = [feature.name for feature in manifest.features]
    if not feature_names or len(set(feature_names)) != len(feature_names):
        raise InvalidManifest("features must be named, each once")
