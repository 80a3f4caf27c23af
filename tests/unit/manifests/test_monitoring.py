"""Rules and dashboard query exported metrics, and alerts fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from sabia.kubernetes.manifests import ROOT
from sabia.serving.inference.loading import open_model
from sabia.serving.telemetry.metrics import VersionMetrics
from tests.unit.serving.graphs import mixed

RULES = ROOT / "monitoring" / "rules.yaml"
DASHBOARD = json.loads((ROOT / "monitoring" / "dashboard.json").read_text())
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed; it is part of Prometheus"
)


def expressions() -> list[str]:
    """The queries of both."""
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    return [*rules, *(target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])]


def test_queries_use_exported_metrics_and_labels_only() -> None:
    registry = CollectorRegistry()
    metrics = VersionMetrics(open_model(mixed()), registry)
    metrics.count_response(200, 0.001)
    exported = {sample.name: set(sample.labels) for family in registry.collect() for sample in family.samples}
    recorded = {
        rule["record"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    for expression in expressions():
        for name, _, matchers in re.findall(r"\b(sabia[_:][a-z0-9_:]+)(\{([^}]*)\})?", expression):
            assert name in exported or name in recorded, name
            used = set(re.findall(r"(\w+)\s*[!=]~?\s*\"", matchers))
            assert used <= exported.get(name, used), (name, used)


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])}
        assert not cells & taken
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def promtool(*arguments: str) -> None:
    """Run promtool; its output is the failure message."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_the_rules_are_valid() -> None:
    promtool("check", "rules", str(RULES))


@needs_promtool
def test_the_queries_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    queries = [expression.replace("$__rate_interval", "5m") for expression in expressions()]
    rules = [{"record": f"dashboard:query:{at}", "expr": query} for at, query in enumerate(queries)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "rules.yaml"))


def series(metric: str, values: str, **labels: str) -> dict[str, str]:
    """A series of version 2.0, one value per minute."""
    listed = ",".join(f'{name}="{value}"' for name, value in ({"model": "m", "version": "2.0"} | labels).items())
    return {"series": f"{metric}{{{listed}}}", "values": values}


def answered(values: str, status_class: str, route: str = "split") -> dict[str, str]:
    """Requests by status class."""
    return series("sabia_requests_total", values, route=route, status_class=status_class)


CASES: dict[str, tuple[list[dict[str, str]], str | None]] = {
    "SabiaVersionFails": (
        [answered("0+90x40", "2xx"), answered("0+10x40", "5xx")],
        "m 2.0 fails 10% of its requests.",
    ),
    "SabiaVersionFails, client errors": (
        [answered("0+90x40", "2xx"), answered("0x40", "5xx"), answered("0+90x40", "4xx")],
        None,
    ),
    "SabiaVersionFails, pinned requests only": (
        [answered("0+90x40", "2xx"), answered("0x40", "5xx"), answered("0+90x40", "5xx", route="pin")],
        None,
    ),
    "SabiaLogDropped": (
        [series("sabia_log_dropped_total", "0x25 60x15", reason="store")],
        "m 2.0 dropped 60 records of its log (store).",
    ),
    "SabiaInputsOutOfRange": (
        [
            series("sabia_inputs_out_of_range_total", "0+25x40", feature="mean area"),
            series("sabia_predictions_total", "0+60x40", route="split", bin="0"),
            series("sabia_predictions_total", "0+40x40", route="split", bin="9"),
        ],
        "25% of the rows that m 2.0 predicts have mean area outside its training range.",
    ),
    "SabiaInputsUnknown": (
        [
            series("sabia_inputs_unknown_total", "0+25x40", feature="airline"),
            series("sabia_predictions_total", "0+60x40", route="split", bin="late"),
            series("sabia_predictions_total", "0+40x40", route="split", bin="other"),
        ],
        "25% of the rows that m 2.0 predicts have a category of airline that it was not trained on.",
    ),
}


# Beside model, version and severity.
EXTRA_LABELS = {
    "SabiaLogDropped": {"reason": "store"},
    "SabiaInputsOutOfRange": {"feature": "mean area"},
    "SabiaInputsUnknown": {"feature": "airline"},
}


@needs_promtool
@pytest.mark.parametrize("case", CASES)
def test_alerts_fire_when_they_should_and_only_then(case: str, tmp_path: Path) -> None:
    input_series, summary = CASES[case]
    name = case.partition(",")[0]
    severity = "critical" if name == "SabiaVersionFails" else "warning"
    labels: dict[str, Any] = {"model": "m", "version": "2.0", "severity": severity}
    extra = EXTRA_LABELS.get(name, {})
    expected = [] if summary is None else [{"exp_labels": labels | extra, "exp_annotations": {"summary": summary}}]
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": input_series,
                "alert_rule_test": [{"eval_time": "35m", "alertname": name, "exp_alerts": expected}],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    promtool("test", "rules", str(tmp_path / "test.yaml"))
