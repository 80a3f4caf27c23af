"""The live page of a real platform, in a real Chromium."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page

from sabia.local.process import Process, free_ports
from tests.browser import browser, needs_chromium, serious
from tests.local.test_commands import facts, sabia
from tests.local.test_rollouts import load_on, write_plan
from tests.waiting import eventually

pytestmark = needs_chromium

TOKEN = "only-for-this-test"


def dash(folder: Path, port: int, *more: str) -> Process:
    """`sabia dash`, answering."""
    command = [sys.executable, "-P", "-m", "sabia", "dash", "--folder", str(folder), "--port", str(port), *more]
    environment = {"SABIA_DASH_TOKEN": TOKEN} if "--decisions" in more else {}
    process = Process(f"dash-{port}", command, logs=folder / "logs", extra=environment)
    process.wait_until(lambda: answering(port), seconds=60)
    return process


def answering(port: int) -> bool:
    """Whether the page is served."""
    try:
        return requests.get(f"http://127.0.0.1:{port}/", timeout=2).ok
    except requests.RequestException:
        return False


def state(port: int) -> dict[str, Any]:
    """What the API says."""
    found: dict[str, Any] = requests.get(f"http://127.0.0.1:{port}/api/state", timeout=30).json()
    return found


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack with all of the traffic on 1.2."""
    folder = tmp_path_factory.mktemp("live")
    done = sabia(folder, "up")
    assert done.returncode == 0, done.stderr
    assert sabia(folder, "traffic", "1.2=100").returncode == 0
    yield folder
    sabia(folder, "down")


def cells(page: Page) -> dict[str, dict[str, str]]:
    """What the table of versions shows."""
    return {
        row.get_attribute("data-version") or "": {
            cell.get_attribute("data-field") or "": cell.inner_text() for cell in row.locator("td").all()
        }
        for row in page.locator("#versions tbody tr").all()
    }


def texts(version: dict[str, Any]) -> dict[str, str]:
    """What the page is to show of a version."""
    found = {"weight": f"{version['weight']} %", "aliases": ", ".join(version["aliases"])}
    for name in ("requests", "failed"):
        found[name] = f"{version[name]:,}" if version["serving"] else ""
    return found


class Seen:
    """How many different texts there were."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def after(self, text: str) -> int:
        """How many, this one among them."""
        self._texts.add(text)
        return len(self._texts)


def told(page: Page) -> list[str]:
    """Collects what the browser has to complain of."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def test_what_it_shows_is_what_the_api_says_while_a_rollout_goes_on(up: Path) -> None:
    (port,) = free_ports(1)
    process = dash(up, port)
    gateway = facts(up, "status")["gateway"]
    try:
        with browser() as chromium:
            page = chromium.new_page()
            complaints = told(page)
            page.goto(f"http://127.0.0.1:{port}/")
            page.locator("#connection.live").wait_for()
            with load_on(gateway):
                assert sabia(up, "rollout", "start", write_plan(up, "1.2", "2.0"), "--folder", str(up)).returncode == 0
                page.locator("article[data-rollout]").wait_for()
                seen = Seen()
                eventually(lambda: seen.after(page.locator("[data-field=records]").first.inner_text()) > 3)
                eventually(lambda: "promoted" in page.locator("[data-field=summary]").first.inner_text(), seconds=60)
            # Nobody calls any more: page and API come to the same.
            shown: dict[str, Any] = {}

            def same() -> bool:
                said = state(port)
                shown.update(page=cells(page), api=said)
                return all(
                    shown["page"][each["version"]][name] == expected
                    for each in said["versions"]
                    for name, expected in texts(each).items()
                )

            eventually(same)
            assert shown["page"]["2.0"]["weight"] == "100 %"
            assert page.locator("[data-field=summary]").first.inner_text() == shown["api"]["rollouts"][0]["summary"]
            assert page.locator("button[data-action]").count() == 0
            assert serious(page) == []
            page.emulate_media(color_scheme="dark")
            assert serious(page) == []
            assert complaints == []
    finally:
        process.stop(seconds=10)


def test_it_comes_back_by_itself_when_its_server_does(up: Path) -> None:
    (port,) = free_ports(1)
    process = dash(up, port)
    try:
        with browser() as chromium:
            page = chromium.new_page()
            page.goto(f"http://127.0.0.1:{port}/")
            page.locator("#connection.live").wait_for()
            process.stop(seconds=10)
            page.locator("#connection.lost").wait_for()
            assert re.search(r"The page shows the state of \d{4}-", page.locator("#connection").inner_text())
            process = dash(up, port)
            page.locator("#connection.live").wait_for()
    finally:
        process.stop(seconds=10)


def test_decisions_are_taken_by_who_knows_the_token(up: Path) -> None:
    (port,) = free_ports(1)
    process = dash(up, port, "--decisions")
    try:
        assert sabia(up, "traffic", "1.2=100").returncode == 0
        assert sabia(up, "rollout", "start", write_plan(up, "1.2", "2.0"), "--folder", str(up)).returncode == 0
        with browser() as chromium:
            page = chromium.new_page()
            page.goto(f"http://127.0.0.1:{port}/")
            button = page.locator("button[data-action=pause]").first
            button.click()
            page.get_by_text("The token is missing or wrong.").wait_for()
            page.get_by_label("Token for actions").fill(TOKEN)
            page.get_by_role("button", name="Use token").click()
            button.focus()
            page.keyboard.press("Enter")
            page.locator("article h3", has_text="paused").first.wait_for()
            assert facts(up, "rollout", "status")["conditions"] == ["Paused"]
            page.on("dialog", lambda dialog: dialog.accept())
            page.locator("button[data-action=abort]").first.click()
            eventually(lambda: facts(up, "rollout", "status")["phase"] == "RolledBack", seconds=60)
    finally:
        process.stop(seconds=10)


def test_a_taken_port_is_said_in_one_line(up: Path) -> None:
    (port,) = free_ports(1)
    process = dash(up, port)
    try:
        done = sabia(up, "dash", "--folder", str(up), "--port", str(port))
        assert done.returncode == 1
        assert f"127.0.0.1:{port} is not free" in done.stderr
    finally:
        process.stop(seconds=10)


def test_without_a_platform_it_says_so(tmp_path: Path) -> None:
    done = sabia(tmp_path, "dash", "--folder", str(tmp_path))
    assert done.returncode == 5
    assert os.linesep.join(done.stderr.splitlines()).startswith("error:")
