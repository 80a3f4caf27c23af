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
    """`sabia dash`, serving."""
    command = [sys.executable, "-P", "-m", "sabia", "dash", "--folder", str(folder), "--port", str(port), *more]
    environment = {"SABIA_DASH_TOKEN": TOKEN} if "--actions" in more else {}
    process = Process(f"dash-{port}", command, logs=folder / "logs", extra=environment)
    process.wait_until(lambda: is_served(port), seconds=60)
    return process


def is_served(port: int) -> bool:
    """Whether the page is served."""
    try:
        return requests.get(f"http://127.0.0.1:{port}/", timeout=2).ok
    except requests.RequestException:
        return False


def state(port: int) -> dict[str, Any]:
    """The state from the API."""
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
    """The table of versions."""
    return {
        row.get_attribute("data-version") or "": {
            cell.get_attribute("data-field") or "": cell.inner_text() for cell in row.locator("td").all()
        }
        for row in page.locator("#versions tbody tr").all()
    }


def texts(version: dict[str, Any]) -> dict[str, str]:
    """The texts that the page should show for a version."""
    found = {"weight": f"{version['weight']} %", "aliases": ", ".join(version["aliases"])}
    for name in ("requests", "failed"):
        found[name] = f"{version[name]:,}" if version["serving"] else ""
    return found


class DistinctTexts:
    """Counts distinct texts."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def add(self, text: str) -> int:
        """The number of distinct texts, with this one."""
        self._texts.add(text)
        return len(self._texts)


def errors_of(page: Page) -> list[str]:
    """Collects the browser's errors and warnings."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def test_the_page_shows_the_state_of_the_api_during_a_rollout(up: Path) -> None:
    (port,) = free_ports(1)
    process = dash(up, port)
    gateway = facts(up, "status")["gateway"]
    try:
        with browser() as chromium:
            page = chromium.new_page()
            errors = errors_of(page)
            page.goto(f"http://127.0.0.1:{port}/")
            page.locator("#connection.live").wait_for()
            with load_on(gateway):
                assert sabia(up, "rollout", "start", write_plan(up, "1.2", "2.0"), "--folder", str(up)).returncode == 0
                page.locator("article[data-rollout]").wait_for()
                texts_shown = DistinctTexts()
                eventually(lambda: texts_shown.add(page.locator("[data-field=entries]").first.inner_text()) > 3)
                eventually(lambda: "promoted" in page.locator("[data-field=summary]").first.inner_text(), seconds=60)
            # Without load the page and the API converge.
            shown: dict[str, Any] = {}

            def same() -> bool:
                api = state(port)
                shown.update(page=cells(page), api=api)
                return all(
                    shown["page"][each["version"]][name] == expected
                    for each in api["versions"]
                    for name, expected in texts(each).items()
                )

            eventually(same)
            assert shown["page"]["2.0"]["weight"] == "100 %"
            assert page.locator("[data-field=summary]").first.inner_text() == shown["api"]["rollouts"][0]["summary"]
            assert page.locator("button[data-action]").count() == 0
            assert serious(page) == []
            page.emulate_media(color_scheme="dark")
            assert serious(page) == []
            assert errors == []
    finally:
        process.stop(seconds=10)


def test_the_page_reconnects_when_its_server_restarts(up: Path) -> None:
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


def test_actions_need_the_token(up: Path) -> None:
    (port,) = free_ports(1)
    process = dash(up, port, "--actions")
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


def test_a_taken_port_is_a_one_line_error(up: Path) -> None:
    (port,) = free_ports(1)
    process = dash(up, port)
    try:
        done = sabia(up, "dash", "--folder", str(up), "--port", str(port))
        assert done.returncode == 1
        assert f"127.0.0.1:{port} is not free" in done.stderr
    finally:
        process.stop(seconds=10)


def test_without_a_platform_the_command_fails(tmp_path: Path) -> None:
    done = sabia(tmp_path, "dash", "--folder", str(tmp_path))
    assert done.returncode == 5
    assert os.linesep.join(done.stderr.splitlines()).startswith("error:")
