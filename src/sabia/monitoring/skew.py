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


def measure_skew(archive: Archive, artifact: Artifact, columns: Mapping[str, str]) -> Skew | None:
    """Predict some logged rows again and compare; None if the log has no complete row.

    `columns` are the logged columns by feature.
    """
    names = [feature.name for feature in artifact.manifest.inputs]
    if set(names) - columns.keys():
        return None
    logged, rows = queries.complete_rows(archive, artifact.manifest.version, [columns[name] for name in names], _ROWS)
    if not len(rows):
        return None
    return Skew(len(rows), float(np.abs(Model(artifact).predict(rows) - logged).max()))
