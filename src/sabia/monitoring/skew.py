"""Serving skew: does the published artifact compute the predictions that were logged?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sabia.monitoring import queries
from sabia.monitoring.archive import Archive
from sabia.monitoring.document import Skew
from sabia.registry.verification import Artifact
from sabia.serving.inference.model import Model

_ROWS = 1000


def measure_skew(archive: Archive, artifact: Artifact, columns: Mapping[str, str]) -> Skew | str:
    """Predict some logged rows again and compare; or the reason why they cannot be.

    `columns` are the logged columns by feature.
    """
    manifest = artifact.manifest
    if not manifest.signature.is_scalar:
        return "its inputs or outputs are not single floats"
    names = [each.name for each in manifest.inputs]
    if set(names) - columns.keys():
        return "not every feature is in the log"
    logged, rows = queries.complete_rows(archive, manifest.version, [columns[name] for name in names], _ROWS)
    if not len(rows):
        return "the log has no row with every feature"
    return Skew(len(rows), float(np.abs(Model(artifact).predict(rows) - logged).max()))
