"""The live page in the cluster, through a forwarded port: its state, and an action on it."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from sabia.kubernetes.programs import installed
from sabia.local.process import free_ports
from tests.browser import browser, needs_chromium, serious
from tests.cluster import tools
from tests.cluster.rollouts import start, until
from tests.cluster.tools import NAMESPACE, Served
from tests.waiting import eventually

Document = dict[str, Any]


@contextmanager
def forwarded(service: str, port: int) -> Iterator[str]:
    """The URL of a Service's port, forwarded to this machine."""
    (local,) = free_ports(1)
    command = [installed("kubectl"), "port-forward", "-n", NAMESPACE, f"service/{service}", f"{local}:{port}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{local}"
        finally:
            process.terminate()


def state(url: str) -> Document:
    """The state from the page's API; empty while it does not respond."""
    try:
        found: Document = requests.get(f"{url}/api/state", timeout=30).json()
    except requests.RequestException:
        return {}
    return found


def shown(url: str, version: str) -> Document:
    """The state of one version."""
    return next((each for each in state(url).get("versions", []) if each["version"] == version), {})


@pytest.fixture
def dash(served: Served) -> Iterator[str]:
    """The page with buttons; yields the token."""
    token = secrets.token_urlsafe(16)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "dash-token", "namespace": NAMESPACE}}
    tools.apply(secret | {"stringData": {"token": token}})
    tools.apply_folder("dash/decide")
    tools.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/dash", "--timeout=120s")
    yield token
    tools.kubectl("delete", "deployment", "-n", NAMESPACE, "dash")


@needs_chromium
def test_the_page_shows_the_cluster_and_an_action_reaches_the_operator(
    dash: str, operator: None, split: None, url: str, row: list[float]
) -> None:
    tools.traffic("1.2=100")
    with forwarded("dash", 8501) as page_url, tools.load(url, row) as load:
        eventually(lambda: state(page_url))
        load.wait_for(100)
        eventually(lambda: (shown(page_url, "1.2").get("requests") or 0) >= 100)
        assert state(page_url)["problems"] == []
        assert {each["version"]: each["weight"] for each in state(page_url)["versions"] if each["serving"]} == {
            "1.2": 100,
            "2.0": 0,
        }
        start("looked-at", stable="1.2", canaries=["2.0"], minimumDwell="120s")
        until("looked-at", lambda found: found.get("phase") == "Stepping")
        with browser() as chromium:
            page = chromium.new_page()
            page.goto(page_url)
            page.locator("article[data-rollout]").first.wait_for()
            page.locator("tr[data-version='2.0'] td[data-field=weight]", has_text="5 %").wait_for()
            page.get_by_label("Token for actions").fill(dash)
            page.get_by_role("button", name="Use token").click()
            page.on("dialog", lambda dialog: dialog.accept())
            page.locator("button[data-action=abort]").first.click()
            page.locator("article h3", has_text=re.compile("RolledBack")).first.wait_for(timeout=60_000)
            assert serious(page) == []
        end = until("looked-at", lambda found: found["phase"] == "RolledBack")
        assert "live page" in end["summary"]
        assert tools.traffic()["weights"] == {"1.2": 100, "2.0": 0}
    assert load.failures() == []


def test_the_read_only_page_may_change_nothing(dash: str) -> None:
    account = f"system:serviceaccount:{NAMESPACE}:dash"
    for verb, resource in (("update", "httproutes"), ("patch", "inferenceservices"), ("get", "secrets")):
        said = tools.kubectl("auth", "can-i", verb, resource, "-n", NAMESPACE, f"--as={account}", check=False)
        assert said.startswith("no")
