"""The version rule, enforced where a version is claimed.

- the content of a version that exists → that version, and nothing is written;
- the methods of the newest version → its next MINOR;
- other methods → the next MAJOR.

A version whose manifest cannot be read keeps its number, and says nothing about its methods: the other versions of its
MAJOR do, and where there is none, the draft counts as other methods.

A claim is one create-only put of the manifest, written after the files that it names. If two publishers claim the
same number, one succeeds, and the other applies the rule again to the versions that the store holds then. A publisher
that dies before it writes the manifest has claimed nothing and blocks no other.

The rule is applied to the versions listed just before the claim. If a third publisher changes the methods between the
listings of two publishers of the same content, that content may get two numbers; no number is overwritten or shared.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sabia.contract import manifest as manifests
from sabia.contract.layout import Version, manifest_key, version_prefix
from sabia.contract.manifest import CARD_FILE, Evaluation, File, Manifest, Methods, Provenance, Runtime
from sabia.contract.signature import Signature
from sabia.registry.catalogue import read_all
from sabia.registry.errors import ClaimsExhausted
from sabia.store.errors import KeyTaken
from sabia.store.objects import Store

FIRST = Version(1, 0)

# Each lost race means that another publisher claimed a number: this many tries fail only against as many publishers.
_TRIES = 100


class Change(enum.StrEnum):
    """The difference between a draft and the versions that exist."""

    FIRST = "first version"
    METHODS = "new methods"
    STATE = "new state"
    NOTHING = "nothing changed"


_ONNX = Runtime()


@dataclass(frozen=True)
class Draft:
    """A version without a number: the content of its manifest, and its files by name.

    A large file is a path: it is digested and written in pieces, and must not change before the version is claimed.
    `former_fingerprint` is that of the same methods in a manifest of schema 1, if they could have been published then.
    """

    name: str
    created_at: str
    methods: Methods
    hyper_params: dict[str, Any]
    signature: Signature
    target: str
    metrics: Evaluation
    provenance: Provenance
    files: Mapping[str, bytes | Path]
    runtime: Runtime = _ONNX
    former_fingerprint: str | None = None

    @cached_property
    def digests(self) -> dict[str, str]:
        """The digest of each file, by name."""
        return {name: manifests.sha256(data) for name, data in self.files.items()}

    @cached_property
    def digest(self) -> str:
        """The content digest: the name of the folder that will hold the files."""
        return manifests.digest_of(self.digests)


@dataclass(frozen=True, slots=True)
class Decision:
    """The number that the rule gives a draft, the reason, and the version before it."""

    version: Version
    change: Change
    parent: Version | None


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome: `change` is NOTHING when a version has the same content already."""

    manifest: Manifest
    change: Change
    uri: str


def decide(draft: Draft, existing: Sequence[Manifest], unreadable: Sequence[Version] = ()) -> Decision:
    """The version rule. `existing` is in any order; `unreadable` are claimed versions whose manifest is unknown."""
    same = [manifest.number for manifest in existing if manifest.digest == draft.digest]
    if same:
        return Decision(min(same), Change.NOTHING, None)
    claimed = [*(manifest.number for manifest in existing), *unreadable]
    if not claimed:
        return Decision(FIRST, Change.FIRST, None)
    last = max(claimed)
    newest = max(existing, key=lambda manifest: manifest.number, default=None)
    if newest is None:
        return Decision(last.next_major, Change.METHODS, None)
    fingerprint = draft.former_fingerprint if newest.schema_version == 1 else draft.methods.fingerprint
    if newest.number.major == last.major and newest.methods.fingerprint == fingerprint:
        return Decision(last.next_minor, Change.STATE, newest.number)
    return Decision(last.next_major, Change.METHODS, newest.number)


def publish(store: Store, draft: Draft) -> Published:
    """Give the draft a number and write it, or find the version that holds the same content.

    Raises:
        InvalidSignature, InvalidManifest: the draft could not be served or read back; no number is given.
        StoreError: the store failed; publish again, nothing half-written counts.
        KeyTaken: a key named for a digest holds other bytes, which no publisher writes.
        ClaimsExhausted: other publishers claimed a hundred numbers meanwhile.
    """
    for _ in range(_TRIES):
        existing, unreadable = read_all(store, draft.name)
        decision = decide(draft, existing, [each.version for each in unreadable])
        if decision.change is Change.NOTHING:
            same = next(manifest for manifest in existing if manifest.number == decision.version)
            return Published(same, decision.change, store.uri(version_prefix(draft.name, decision.version)))
        prefix = version_prefix(draft.name, decision.version)
        manifest = _manifest(draft, decision, _write_files(store, draft, prefix))
        manifests.check_publishable(manifest)
        try:
            store.create(manifest_key(draft.name, decision.version), manifests.encode(manifest))
        except KeyTaken:
            continue  # another publisher's number now: apply the rule to what the store holds
        return Published(manifest, decision.change, store.uri(prefix))
    raise ClaimsExhausted(draft.name, _TRIES)


def provisional(draft: Draft) -> Manifest:
    """The manifest that the draft would have as a first version, to try it before it has a number."""
    entries = [
        File(
            path=f"{draft.digest}/{name}",
            size=data.stat().st_size if isinstance(data, Path) else len(data),
            sha256=draft.digests[name],
        )
        for name, data in sorted(draft.files.items())
    ]
    return _manifest(draft, Decision(FIRST, Change.FIRST, None), entries)


def _write_files(store: Store, draft: Draft, prefix: str) -> list[File]:
    entries = []
    for name, data in sorted(draft.files.items()):
        path = f"{draft.digest}/{name}"
        if isinstance(data, Path):
            store.create_file(prefix + path, data)
            entries.append(File(path=path, size=data.stat().st_size, sha256=draft.digests[name]))
            continue
        written = _create_card(store, prefix + path, data) if name == CARD_FILE else _create(store, prefix + path, data)
        entries.append(File(path=path, size=len(written), sha256=manifests.sha256(written)))
    return entries


def _create(store: Store, key: str, data: bytes) -> bytes:
    store.create(key, data)
    return data


def _create_card(store: Store, key: str, data: bytes) -> bytes:
    # The card is not part of the digest, so a publisher that died here may have left another wording of it.
    try:
        return _create(store, key, data)
    except KeyTaken:
        return store.get(key)


def _manifest(draft: Draft, decision: Decision, entries: list[File]) -> Manifest:
    return Manifest(
        schema_version=manifests.SCHEMA_VERSION,
        name=draft.name,
        version=str(decision.version),
        created_at=draft.created_at,
        methods=draft.methods,
        hyper_params=draft.hyper_params,
        inputs=draft.signature.inputs,
        outputs=draft.signature.outputs,
        primary=draft.signature.primary,
        bins=draft.signature.bins,
        target=draft.target,
        metrics=draft.metrics,
        files=entries,
        provenance=draft.provenance,
        parent=str(decision.parent) if decision.parent else None,
        runtime=draft.runtime,
    )
