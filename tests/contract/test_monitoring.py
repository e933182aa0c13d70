"""Dashboards, rules and runbook fit together, and the rules do what their names say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tools.observe.prometheus import missing

from tests.support.promql import MONITORING, asked_of, panels, rules

ROOT = MONITORING.parents[1]
RUNBOOK = ROOT / "docs" / "runbook"
ALERTS = rules("alerts")
needs_promtool = pytest.mark.skipif(bool(missing("promtool")), reason=missing("promtool"))


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@needs_promtool
def test_prometheus_accepts_configuration_and_rules() -> None:
    assert promtool("check", "config", "--syntax-only", MONITORING / "prometheus.yml") == ""
    assert promtool("check", "rules", *sorted((MONITORING / "rules").glob("*.yml"))) == ""


@needs_promtool
def test_each_alert_fires_for_what_it_is_meant_for_and_for_nothing_beside_it() -> None:
    assert promtool("test", "rules", MONITORING / "tests" / "alerts.yml") == ""


def test_each_alert_is_tested() -> None:
    tested = re.findall(r"alertname: (\w+)", (MONITORING / "tests" / "alerts.yml").read_text())

    assert set(tested) == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_each_alert_has_a_page_that_says_what_to_do(alert: dict[str, dict[str, str]]) -> None:
    name = alert["alert"]
    page = RUNBOOK / f"{name}.md"

    assert alert["annotations"]["runbook"] == str(page.relative_to(ROOT))
    text = page.read_text()
    assert text.startswith(f"# {name}\n")
    for heading in ("What it means", "What users see", "How to look", "What to do"):
        assert f"**{heading}" in text
    assert len(text.splitlines()) < 40, "one short page"
    assert f"[{name}]({name}.md)" in (RUNBOOK / "README.md").read_text()


def test_no_page_is_left_of_an_alert_that_is_gone() -> None:
    pages = {page.stem for page in RUNBOOK.glob("Matteworks*.md")}

    assert pages == {alert["alert"] for alert in ALERTS}


def test_dashboards_are_current_and_show_something() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.gen_dashboards", "--check"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {uid for uid, _ in panels()} == {
        "matteworks-overview", "matteworks-inference", "matteworks-jobs", "matteworks-money",
    }  # fmt: skip


def test_names_are_found_in_expressions() -> None:
    """Otherwise the test of dashboards against real metrics would prove nothing."""
    asked = asked_of(
        "x",
        'sum by (dialect, envoy_cluster_name) (rate(matteworks_edge_requests_total{status="5xx"}[5m]))'
        " / on (job) group_left (component) matteworks:rpc:rate5m"
        ' + rate({__name__=~"envoy_a|envoy_b"}[5m]) > 1 and up == 0',
    )

    assert asked.metrics == {
        "envoy_a": set(),
        "envoy_b": set(),
        "matteworks_edge_requests_total": {"status"},
        "matteworks:rpc:rate5m": set(),
        "up": set(),
    }
    assert asked.grouped == {"dialect", "envoy_cluster_name", "job", "component"}
