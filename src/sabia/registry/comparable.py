"""Which versions evidence can compare: those whose predictions are of one role, and are counted in the same bins."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from sabia.contract import names
from sabia.contract.layout import Version
from sabia.contract.manifest import Manifest
from sabia.contract.signature import difference
from sabia.registry.catalogue import manifest_of
from sabia.registry.errors import Incomparable, VersionNotFound
from sabia.store.objects import Store
from sabia.store.parallel import in_parallel


def require_comparable(store: Store, model: str, versions: Iterable[str]) -> None:
    """Refuse versions that evidence cannot compare; a baseline is the version that it copies.

    A version that this store does not hold is served from another one, and is passed over.

    Raises:
        Incomparable: two of them differ in what they predict.
        InvalidManifest, UnknownSchema: a manifest cannot be read.
        StoreError: the store failed.
    """
    numbers = [Version.parse(text) for text in dict.fromkeys(map(names.published, versions))]
    found = [each for each in in_parallel(partial(_manifest, store, model), numbers) if each is not None]
    for other in found[1:]:
        reason = difference(found[0].signature, other.signature)
        if reason is not None:
            raise Incomparable(model, found[0].version, other.version, reason)


def _manifest(store: Store, model: str, version: Version) -> Manifest | None:
    try:
        return manifest_of(store, model, version)
    except VersionNotFound:
        return None
