"""The version rule, enforced where a version is claimed.

- the content of a version that exists → that version, and nothing is written;
- the methods of the newest version → its next MINOR;
- other methods → the next MAJOR.

A claim is one create-only put of the manifest, after the files that it names. Of two publishers that want one number
one gets it, and the other applies the rule again to what the store holds now. A publisher that dies before its
manifest has claimed nothing and blocks nobody.

The rule is applied to the versions listed a moment before the claim. Two publishers of one content, one of which
listed before a *third* changed the methods, may thus hold the content under two numbers; no number is ever
overwritten or shared.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sabia.contract import manifest as manifests
from sabia.contract.layout import Version, manifest_key, version_prefix
from sabia.contract.manifest import CARD_FILE, Evaluation, Feature, File, Manifest, Methods, Prediction, Provenance
from sabia.registry.catalogue import manifests_of
from sabia.registry.errors import ClaimsExhausted
from sabia.store.errors import KeyTaken
from sabia.store.objects import Store

FIRST = Version(1, 0)

# Each lost race means that somebody else claimed a number, so this many tries fail only against as many publishers.
_TRIES = 100


class Change(enum.StrEnum):
    """What the rule says of a draft, against the versions that exist."""

    FIRST = "first version"
    METHODS = "new methods"
    STATE = "new state"
    NOTHING = "nothing changed"


@dataclass(frozen=True, slots=True)
class Draft:
    """A version that has no number yet: everything that its manifest will say, and its files by name."""

    name: str
    created_at: str
    methods: Methods
    hyper_params: dict[str, Any]
    features: list[Feature]
    target: str
    prediction: Prediction
    metrics: Evaluation
    provenance: Provenance
    files: dict[str, bytes]

    @property
    def digest(self) -> str:
        """The content digest: the folder that the files will lie in."""
        return manifests.content_digest(self.files)


@dataclass(frozen=True, slots=True)
class Decision:
    """The number that the rule gives a draft, why, and the version it came from."""

    version: Version
    change: Change
    parent: Version | None


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome: `change` is NOTHING when the content was there already."""

    manifest: Manifest
    change: Change
    uri: str


def decide(draft: Draft, existing: Sequence[Manifest]) -> Decision:
    """The version rule. `existing` is in any order."""
    same = [manifest.number for manifest in existing if manifest.digest == draft.digest]
    if same:
        return Decision(min(same), Change.NOTHING, None)
    if not existing:
        return Decision(FIRST, Change.FIRST, None)
    newest = max(existing, key=lambda manifest: manifest.number)
    if newest.methods.fingerprint == draft.methods.fingerprint:
        return Decision(newest.number.next_minor, Change.STATE, newest.number)
    return Decision(newest.number.next_major, Change.METHODS, newest.number)


def publish(store: Store, draft: Draft) -> Published:
    """Give the draft a number and write it, or find the version that holds the same content.

    Raises:
        StoreError: the store failed; publish again, nothing half-written counts.
        KeyTaken: a file's place, named for its digest, holds other bytes: somebody wrote there by hand.
        ClaimsExhausted: others claimed a hundred numbers meanwhile.
    """
    for _ in range(_TRIES):
        existing = manifests_of(store, draft.name)
        decision = decide(draft, existing)
        if decision.change is Change.NOTHING:
            found = next(manifest for manifest in existing if manifest.number == decision.version)
            return Published(found, decision.change, store.uri(version_prefix(draft.name, decision.version)))
        prefix = version_prefix(draft.name, decision.version)
        manifest = _manifest(draft, decision, _write_files(store, draft, prefix))
        try:
            store.create(manifest_key(draft.name, decision.version), manifests.encode(manifest))
        except KeyTaken:
            continue  # somebody else's number now: apply the rule to what the store holds
        return Published(manifest, decision.change, store.uri(prefix))
    raise ClaimsExhausted(draft.name, _TRIES)


def _write_files(store: Store, draft: Draft, prefix: str) -> list[File]:
    entries = []
    for name, data in sorted(draft.files.items()):
        path = f"{draft.digest}/{name}"
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
        features=draft.features,
        target=draft.target,
        prediction=draft.prediction,
        metrics=draft.metrics,
        files=entries,
        provenance=draft.provenance,
        parent=str(decision.parent) if decision.parent else None,
    )
