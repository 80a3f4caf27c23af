"""The page of a report: complete, self-contained, accessible."""

from __future__ import annotations

import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from sabia.monitoring import labels
from sabia.monitoring.document import Report
from sabia.monitoring.page import to_html, to_json
from sabia.monitoring.quality import Quality
from sabia.monitoring.report import generate
from sabia.registry.verification import Artifact
from sabia.rollout import engine
from sabia.rollout.plan import from_mapping
from sabia.serving.inference.model import Model
from sabia.store.objects import Store
from sabia.training.datasets import load
from tests.browser import browser, needs_chromium, serious
from tests.conftest import MODEL
from tests.unit.monitoring.logs import write_log

pytestmark = pytest.mark.slow

DAY = date(2026, 3, 1)


@pytest.fixture
def report(store: Store, linear: Artifact, logistic: Artifact, trained: NDArray[np.float64], tmp_path: Path) -> Report:
    """A report with all parts: two versions, labels, drift, error responses, a rollout."""
    data = load("sklearn:breast_cancer")
    lines = ["request_id,label"]
    for artifact in (linear, logistic):
        rows = data.features.copy()
        rows[:, 1] += 2 * trained[:, 1].std()
        predictions, server = Model(artifact).predict(rows), artifact.manifest.version
        ids = write_log(store, artifact, rows, predictions, refused=3, server=server)
        lines += [f"{name},{label}" for name, label in zip(ids, data.target.astype(int).tolist(), strict=True)]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines) + "\n")
    labels.add(store, MODEL, path)
    engine.start(
        store, from_mapping({"model": MODEL, "stable": "1.2", "canary": "2.0"}), {"1.2": 100, "2.0": 0}, actor="test"
    )
    return generate(store, MODEL, DAY, DAY)


class Parts(HTMLParser):
    """The tags, ids and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the tag, its id and its references."""
        self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name in ("src", "href", "xlink:href", "data", "action") and not str(value).startswith("#"):
                self.loads.append(str(value))


@pytest.mark.slow
def test_the_page_is_self_contained(report: Report) -> None:
    page = to_html(report)
    parts = Parts(page)
    assert "script" not in parts.open
    assert "link" not in parts.open
    assert parts.loads == []
    assert not re.search(r"@import|url\((?!#)", page)


@pytest.mark.slow
def test_ids_are_unique(report: Report) -> None:
    ids = Parts(to_html(report)).ids
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_the_page_shows_the_report(report: Report) -> None:
    text = re.sub(r"<[^>]+>|&nbsp;", " ", to_html(report))
    for served in report.versions:
        assert f"{served.requests:,.0f} requests" in text
        assert "mean texture" in served.drifted
        assert isinstance(served.quality, Quality)
        assert f"{served.quality.accuracy.value:.3f} ({served.quality.accuracy.low:.3f}" in text
    assert "Not this." in text
    assert report.rollouts[0].summary in text


def test_the_json_document_decodes_to_the_report(report: Report) -> None:
    assert msgspec.json.decode(to_json(report), type=Report) == report


@pytest.mark.slow
def test_text_from_clients_is_escaped(report: Report) -> None:
    served = msgspec.structs.replace(report.versions[0], refusals=[("<script>alert(1)</script>", 1)])
    page = to_html(msgspec.structs.replace(report, versions=[served]))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@needs_chromium
@pytest.mark.local
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_in_a_browser(report: Report, tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "report.html"
    path.write_text(to_html(report))
    with browser() as chromium:
        page = chromium.new_page(color_scheme=scheme)  # type: ignore[arg-type]
        events: list[str] = []
        page.on("console", lambda message: events.append(message.text))
        page.on("request", lambda request: events.append(request.url) if request.url != path.as_uri() else None)
        page.goto(path.as_uri())
        for each in page.locator("details").all():
            each.evaluate("details => details.open = true")
        assert serious(page) == []
        assert events == []
        # By keyboard: the first stop skips to the content.
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
        assert page.pdf().startswith(b"%PDF")
        page.set_viewport_size({"width": 360, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
