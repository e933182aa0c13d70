"""The chart hands on the rules and dashboards that the project tests, word for word."""

from __future__ import annotations

import json

import yaml

from tests.contract.chart.rendering import CHART, of_kind

MONITORING = CHART.parents[1] / "monitoring"


def test_a_cluster_gets_every_rule_as_it_is_tested() -> None:
    written = {path.stem: yaml.safe_load(path.read_text()) for path in (MONITORING / "rules").glob("*.yml")}
    rules = of_kind("everything on", "PrometheusRule")

    assert {name: rule["spec"] for name, rule in rules.items()} == written
    assert {rule["metadata"]["labels"]["release"] for rule in rules.values()} == {"prometheus"}


def test_grafana_gets_every_dashboard_as_it_is() -> None:
    written = {path.name: json.loads(path.read_text()) for path in (MONITORING / "dashboards").glob("*.json")}
    found = of_kind("everything on", "ConfigMap").values()
    dashboards = [one for one in found if one["metadata"]["labels"].get("grafana_dashboard") == "1"]

    assert {name: json.loads(text) for one in dashboards for name, text in one["data"].items()} == written
    # A ConfigMap holds a mebibyte.
    assert all(len(json.dumps(one)) < 1 << 20 for one in dashboards)


def test_neither_comes_unasked() -> None:
    assert of_kind("as it is", "PrometheusRule") == {}
    assert not [name for name in of_kind("as it is", "ConfigMap") if "dashboard" in name]
