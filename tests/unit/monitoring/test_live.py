"""The live page's API: its state, and actions with and without permission."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from starlette.testclient import TestClient

from sabia.monitoring import labels
from sabia.monitoring.live.ports import Act
from sabia.monitoring.live.recentdrift import RecentDrift
from sabia.monitoring.live.server import Feed, LivePage, application
from sabia.monitoring.live.watcher import Watcher
from sabia.registry.verification import Artifact
from sabia.rollout import engine
from sabia.rollout.counters import Counters, Scrape
from sabia.rollout.errors import NotScraped
from sabia.rollout.events import Action
from sabia.rollout.plan import from_mapping
from sabia.rollout.record import Record, latest
from sabia.store.objects import Store
from tests.conftest import MODEL
from tests.unit.monitoring.logs import write_log

TOKEN = "correct-horse"


class Split:
    """Weights that the test sets."""

    def __init__(self) -> None:
        self.by_version: dict[str, int] = {"1.2": 90, "2.0": 10}

    def weights(self) -> dict[str, int]:
        """The weights that were set."""
        return dict(self.by_version)


class Source:
    """Counters that the test sets, or an error."""

    def __init__(self) -> None:
        self.requests, self.failed = 100, 3
        self.unavailable = False

    def scrape(self) -> Scrape:
        """The counters that were set."""
        if self.unavailable:
            raise NotScraped("server 1 does not answer")
        return Scrape(arms={"1.2": {"a": Counters(self.requests, self.failed)}, "2.0": {"b": Counters(7, 0)}})


@pytest.fixture
def watcher(store: Store) -> Watcher:
    """A watcher of two versions, one of them in a rollout."""
    engine.start(
        store, from_mapping({"model": MODEL, "stable": "1.2", "canary": "2.0"}), {"1.2": 100, "2.0": 0}, actor="test"
    )
    return Watcher(store, MODEL, Split(), Source(), actions=True)


def client(store: Store, watcher: Watcher, *, actions: bool = True) -> TestClient:
    """A client of the page."""

    def act(name: str, verb: Action, version: str | None) -> None:
        engine.act(Record(store, MODEL, name), verb, actor="test", version=version)

    page = LivePage(watcher, act if actions else None, TOKEN if actions else None)
    return TestClient(application([page], hosts=["testserver"]))


def test_the_state_has_weights_counters_and_rollouts(store: Store, watcher: Watcher) -> None:
    found = client(store, watcher).get("/api/state").json()
    versions = {each["version"]: each for each in found["versions"]}
    assert (versions["1.2"]["weight"], versions["1.2"]["requests"], versions["1.2"]["failed"]) == (90, 100, 3)
    assert versions["2.0"]["serving"]
    assert found["rollouts"][0]["canaries"] == ["2.0"]
    assert found["problems"] == []


def test_unavailable_counters_are_a_problem_and_the_rest_is_shown(store: Store) -> None:
    source = Source()
    source.unavailable = True
    found = Watcher(store, MODEL, Split(), source).snapshot()
    assert len(found.problems) == 1
    assert "server 1 does not answer" in found.problems[0]
    assert {each.version: each.requests for each in found.versions} == {"1.2": None, "2.0": None}
    assert {each.version: each.weight for each in found.versions} == {"1.2": 90, "2.0": 10}


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, "pause", 401),
        ({"authorization": "Bearer wrong"}, "pause", 401),
        ({"authorization": f"Bearer {TOKEN}", "sec-fetch-site": "cross-site"}, "pause", 403),
        ({"authorization": f"Bearer {TOKEN}", "sec-fetch-site": "same-site"}, "pause", 403),
        ({"authorization": f"Bearer {TOKEN}", "host": "evil.example"}, "pause", 400),
        ({"authorization": f"Bearer {TOKEN}"}, "destroy", 404),
    ],
)
def test_a_forbidden_action_changes_nothing(
    store: Store, watcher: Watcher, headers: dict[str, str], path: str, status: int
) -> None:
    name = latest(store, MODEL, None).name
    before = latest(store, MODEL, None).head().entry.seq
    assert client(store, watcher).post(f"/api/rollouts/{name}/{path}", headers=headers).status_code == status
    assert latest(store, MODEL, None).head().entry.seq == before


def test_actions_are_off_by_default(store: Store, watcher: Watcher) -> None:
    name = latest(store, MODEL, None).name
    answer = client(store, watcher, actions=False).post(
        f"/api/rollouts/{name}/pause", headers={"authorization": "Bearer None"}
    )
    assert answer.status_code == 403


def test_an_action_is_recorded(store: Store, watcher: Watcher) -> None:
    which = latest(store, MODEL, None)
    headers = {"authorization": f"Bearer {TOKEN}", "sec-fetch-site": "same-origin"}
    assert client(store, watcher).post(f"/api/rollouts/{which.name}/pause", headers=headers).status_code == 200
    assert which.head().entry.state.paused is not None


def test_an_action_on_a_missing_rollout_is_not_found(store: Store, watcher: Watcher) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    asked = client(store, watcher)
    assert asked.post("/api/rollouts/nothing/pause", headers=headers).status_code == 404


def test_requests_for_another_host_are_rejected(store: Store, watcher: Watcher) -> None:
    assert client(store, watcher).get("/api/state", headers={"host": "evil.example"}).status_code == 400


def test_every_response_has_security_headers(store: Store, watcher: Watcher) -> None:
    for path in ("/", "/live.js", "/live.css", "/style.css", "/api/state"):
        answer = client(store, watcher).get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.fixture
def several(store: Store, watcher: Watcher) -> TestClient:
    """A client of the pages of two models; actions are recorded under the model's own name."""

    def act_of(model: str) -> Act:
        def act(name: str, verb: Action, version: str | None) -> None:
            engine.act(Record(store, model, name), verb, actor=model, version=version)

        return act

    other = Watcher(store, "churn", Split(), None, actions=True)
    pages = [LivePage(each, act_of(each.model), TOKEN) for each in (watcher, other)]
    return TestClient(application(pages, hosts=["testserver"]))


def test_several_models_have_a_list_and_a_page_each(store: Store, several: TestClient) -> None:
    listed = several.get("/").text
    for model in (MODEL, "churn"):
        assert f'href="models/{model}/"' in listed
        page = several.get(f"/models/{model}/").text
        assert f"<h1>{model}</h1>" in page
        assert 'href="../../"' in page
        assert several.get(f"/models/{model}/api/state").json()["model"] == model
        assert several.get(f"/models/{model}/live.js").status_code == 200
    assert f"1.2 to 2.0: {latest(store, MODEL, None).head().entry.state.phase}" in listed
    assert "1.2 90 %, 2.0 10 %" in listed
    assert several.get("/api/state").status_code == 404


def test_an_action_is_taken_on_the_rollout_of_its_model_alone(store: Store, several: TestClient) -> None:
    which, headers = latest(store, MODEL, None), {"authorization": f"Bearer {TOKEN}"}
    path = f"api/rollouts/{which.name}/pause"
    assert several.post(f"/models/churn/{path}", headers=headers).status_code == 404
    assert several.post(f"/models/{MODEL}/{path}", headers=headers).status_code == 200
    assert which.head().entry.state.paused is not None


def test_the_page_of_the_only_model_is_at_the_root_and_under_its_name(store: Store, watcher: Watcher) -> None:
    alone = client(store, watcher)
    assert alone.get("/").text == alone.get(f"/models/{MODEL}/").text
    assert "All models" not in alone.get("/").text


def test_each_version_has_its_quality_by_the_labels_of_yesterday_and_today(
    store: Store, logistic: Artifact, linear: Artifact, trained: NDArray[np.float64], tmp_path: Path
) -> None:
    rows, now = trained[:60], datetime.now(UTC)
    ids = write_log(store, logistic, rows, np.full(60, 0.9), at=now)
    write_log(store, linear, rows, np.full(60, 0.9), at=now)
    lines = [f"{each},{int(at < 45)}\n" for at, each in enumerate(ids)]
    path = tmp_path / "labels.csv"
    path.write_text("request_id,label\n" + "".join(lines))
    labels.add(store, MODEL, path)
    recent = RecentDrift(store, MODEL, None)
    recent.latest()
    for thread in threading.enumerate():
        if thread.name == "drift":
            thread.join(60)
    states, _ = recent.latest()
    quality = {state.version: state.quality for state in states}
    assert quality == {
        logistic.manifest.version: "accuracy 0.75 of 60",
        linear.manifest.version: "no labels",
    }


def test_events_are_sent_on_changes_only(store: Store) -> None:
    split = Split()
    watcher = Watcher(store, MODEL, split, None)

    async def listen() -> list[int]:
        events = Feed(watcher, seconds=0.01).events()
        assert (await anext(events)).startswith(b"retry:")
        weights = [_weight(await anext(events))]
        split.by_version = {"1.2": 50, "2.0": 50}
        weights.append(_weight(await anext(events)))
        return weights

    # Without a log, drift does not change.
    assert asyncio.run(asyncio.wait_for(listen(), 20)) == [90, 50]


def _weight(event: bytes) -> int:
    """The weight of 1.2."""
    found: int = json.loads(event.partition(b"data: ")[2])["versions"][0]["weight"]
    return found
