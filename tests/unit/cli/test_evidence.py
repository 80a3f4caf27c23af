"""`sabia evidence` on a history of one's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow  # starts processes

rng = np.random.default_rng(1)


def line(t: int, errors: float = 0.001, **arms: Any) -> str:
    stable = {"n": 950, "errors": int(rng.binomial(950, 0.001))} | arms.get("stable", {})
    canary = {"n": 50, "errors": int(rng.binomial(50, errors))} | arms.get("canary", {})
    return json.dumps({"t": t, "stable": stable, "canary": canary})


def evidence(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "sabia", "evidence", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


def judged(text: str, *arguments: str) -> list[dict[str, Any]]:
    done = evidence(text, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(each) for each in done.stdout.splitlines()]


def test_every_line_gets_a_line_with_verdict_and_evidence() -> None:
    found = judged("\n".join(line(t) for t in range(0, 150, 15)))
    assert [item["t"] for item in found] == list(range(0, 150, 15))
    assert set(found[0]) >= {"t", "verdict", "evidence", "harm", "safe", "summary"}
    assert set(found[0]["evidence"]) == {"errors", "refusals", "latency", "predictions", "labels"}
    assert found[0]["verdict"] == "undecided"
    assert found[-1]["verdict"] == "safe"


def test_a_canary_that_fails_is_harm() -> None:
    found = judged("\n".join(line(t, errors=0.2) for t in range(0, 150, 15)))
    assert found[-1]["verdict"] == "harm"
    assert found[-1]["harm"] >= 100


def test_latency_bins_and_labels_are_evidence_too(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        'model: m\nstable: "1.0"\ncanary: "2.0"\nwatch:\n  errors: {}\n  latency: {}\n'
        "  predictions: {budget: 0, on_shift: roll-back}\n  labels: {}\n"
    )
    slow = {"latency": [0, 10, 40], "bins": [50, 0], "labels": 40, "wrong": 20}
    usual = {"latency": [900, 40, 10], "bins": [475, 475], "labels": 800, "wrong": 16}
    found = judged("\n".join(line(t, stable=usual, canary=slow) for t in range(5)), "--plan", str(plan))
    assert all(found[-1]["evidence"][name] > 100 for name in ("latency", "predictions", "labels"))
    assert found[-1]["verdict"] == "harm"


def test_the_margin_is_that_of_the_step() -> None:
    text = "\n".join(line(t) for t in range(6))
    assert judged(text, "--step", "1")[-1]["verdict"] == "safe"
    assert judged(text, "--step", "5")[-1]["verdict"] == "undecided"


def test_people_get_a_table_and_a_sentence(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text("\n".join(line(t) for t in range(6)) + "\n\n")
    done = evidence("", str(history), "--step", "1")
    assert done.returncode == 0
    assert "after 6 looks: safe." in done.stdout


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no line to read"),
        ("{", "Line 1"),
        ('{"stable": {"n": 1}}', "Line 1"),
        ('{"stable": {"n": 1, "errors": 2}, "canary": {"n": 1}}', "more failures than requests"),
        ('{"stable": {"n": -1}, "canary": {"n": 1}}', "Line 1"),
        ('{"stable": {"n": 99999999999999999999}, "canary": {"n": 1}}', "Line 1"),
        ('{"stable": {"n": 9223372036854775807}, "canary": {"n": 9223372036854775807}}', "Line 1"),
        ('{"stable": {"n": NaN}, "canary": {"n": 1}}', "Line 1"),
        ('{"stable": {"n": 1, "latency": [1]}, "canary": {"n": 1, "latency": [1, 0]}}', "the same buckets"),
    ],
)
def test_what_is_no_history_is_refused_with_its_line(text: str, problem: str) -> None:
    done = evidence(text)
    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("history", ["-", "FILE"])
def test_bytes_that_are_no_text_are_one_sentence(history: str, tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_bytes(b"\xff\xfe{}\n")
    source = str(file) if history == "FILE" else history
    command = [sys.executable, "-P", "-m", "sabia", "evidence", source]
    done = subprocess.run(command, input=file.read_bytes(), capture_output=True, check=False, timeout=60)
    assert done.returncode == 2
    assert b"Line 1" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_plan_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_bytes(b"\xff\xfe\x00")
    done = evidence(line(0), "--plan", str(plan))
    assert done.returncode == 2
    assert done.stderr.startswith("error: The plan's text")


def test_a_canary_that_fails_ninety_times_as_often_in_one_batch_of_millions_is_harm() -> None:
    found = judged('{"t": 0, "stable": {"n": 4780034, "errors": 1793}, "canary": {"n": 251580, "errors": 8969}}')
    assert found[0]["verdict"] == "harm"
    assert found[0]["evidence"]["errors"] > 1e6
