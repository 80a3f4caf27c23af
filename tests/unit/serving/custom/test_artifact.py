"""Own code around a published version: its predictions, name and version stay the artifact's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

import sabia
import sabia.serving
from sabia.contract.inferencelog import feature_columns
from sabia.registry.verification import Artifact
from sabia.serving.custom.sources import from_setting, identity
from sabia.serving.errors import LoadFailed
from sabia.serving.settings import Settings
from tests.unit.serving.custom.clients import served

PERCENT = f"{__name__}:Percent"


class Percent(sabia.serving.ArtifactModel):
    """Takes rows under another name, and answers in percent."""

    async def preprocess(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """Rows, whatever they are called."""
        del headers
        return {"instances": payload["rows"]} if "rows" in payload else payload

    def postprocess(self, result: Any, headers: dict[str, str] | None = None) -> Any:
        """Percent."""
        del headers
        return {"predictions": [100 * each for each in result["predictions"]]}


def test_a_class_around_a_version_answers_logs_and_counts_as_that_version(
    folder: Path, logistic: Artifact, rows: NDArray[np.float64], tmp_path: Path
) -> None:
    name, version = logistic.manifest.name, logistic.manifest.version
    settings = Settings(log=(tmp_path / "log").as_uri(), log_spool=str(tmp_path / "spool"))
    model: Any = sabia.load(folder.as_uri())
    expected = (100 * model.predict(rows[:3])).tolist()
    with served(Percent(source=str(folder)), settings=settings) as server:
        plain = server.predict(name, *rows[:3].tolist())
        other = server.http.post(f"/v1/models/{name}:predict", json={"rows": rows[:3].tolist()})
        short = server.predict(name, rows[0, :2].tolist())
    for response in (plain, other):
        assert response.status_code == 200
        assert response.headers["x-model-version"] == version
        assert response.json()["predictions"] == pytest.approx(expected)
    assert short.status_code == 400
    logged = [row for file in (tmp_path / "log").rglob("*.parquet") for row in pq.ParquetFile(file).read().to_pylist()]
    assert {row["version"] for row in logged} == {version}
    answered = [row for row in logged if row["status"] == 200]
    columns = feature_columns(each.name for each in logistic.manifest.inputs).values()
    assert [[row[name] for name in columns] for row in answered] == 2 * rows[:3].tolist(), "what the version was asked"
    assert [row["prediction"] for row in answered] == pytest.approx(2 * [each / 100 for each in expected])


def test_a_class_around_a_version_has_its_bins_and_ranges(
    folder: Path, logistic: Artifact, rows: NDArray[np.float64]
) -> None:
    manifest = logistic.manifest
    labels = {"model": manifest.name, "version": manifest.version}
    far = rows[:4].copy()
    far[0, 0] = 1e6
    with served(Percent(source=str(folder))) as server:
        assert server.predict(manifest.name, *far.tolist()).status_code == 200
        server.app.recorder.flush()
        assert server.value("sabia_inputs_out_of_range_total", **labels, feature=manifest.inputs[0].name) == 1
        counted = [
            server.value("sabia_predictions_total", **labels, route="split", bin=str(at))
            for at in range(len(manifest.bins))
        ]
        assert server.value("sabia_model_info", **labels, digest=manifest.digest) == 1
        metadata = server.http.get(f"/v2/models/{manifest.name}").json()
    model: Any = sabia.load(folder.as_uri())
    assert counted == manifest.bins.counts(model.predict(far)).tolist()
    assert (metadata["inputs"][0]["name"], metadata["inputs"][0]["shape"]) == ("features", [-1, 30])


def test_a_class_by_its_name_is_served_by_a_program_that_has_used_a_store(
    folder: Path, rows: NDArray[np.float64]
) -> None:
    model: Any = sabia.load(folder.as_uri())  # starts threads that a forked process has not
    (source,) = from_setting(PERCENT, None, str(folder))
    with served(source) as server:
        response = server.predict(model.name, *rows[:2].tolist())
    assert response.json()["predictions"] == pytest.approx((100 * model.predict(rows[:2])).tolist())


def test_an_explanation_is_the_version_s_own(folder: Path, logistic: Artifact, rows: NDArray[np.float64]) -> None:
    model: Any = sabia.load(folder.as_uri())
    name = logistic.manifest.name
    with served(Percent(source=str(folder))) as server:
        body = {"rows": rows[:2].tolist()}
        found = server.http.post(f"/v1/models/{name}:explain", json=body).json()["explanations"]
    assert [each["prediction"] for each in found] == pytest.approx(model.predict(rows[:2]).tolist())
    assert len(found[0]["contributions"]) == len(logistic.manifest.inputs)


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [(None, "97.5", "version '97.5' is set"), ("another", None, "model 'another' is set")],
)
def test_a_name_or_version_that_the_artifact_has_not_is_refused(
    name: str | None, version: str | None, message: str, folder: Path
) -> None:
    (source,) = from_setting(PERCENT, name, str(folder))
    with pytest.raises(LoadFailed, match=message):
        identity(source.make(), source.label, version)
