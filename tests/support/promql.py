"""What dashboards and rules ask of Prometheus: their expressions, and the names in these."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

MONITORING = Path(__file__).resolve().parents[2] / "deploy" / "monitoring"
_METRIC = re.compile(r"\b((?:matteworks|envoy|process)[_:][a-zA-Z0-9_:]+|up)\b(?!\s*\()\s*(\{[^}]*\})?")
_ALTERNATIVES = re.compile(r'\{\s*__name__=~"([^"]+)"[^}]*\}')
_KEYS = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|without|on|group_left|ignoring)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Asked:
    """One expression: its metrics with the labels that each is selected by, and the labels it groups by."""

    where: str
    expression: str
    metrics: dict[str, set[str]]
    grouped: set[str]


def asked_of(where: str, expression: str) -> Asked:
    """The names in `expression`."""
    metrics: dict[str, set[str]] = {}
    for names in _ALTERNATIVES.findall(expression):
        for name in names.split("|"):
            metrics.setdefault(name, set())
    for name, selector in _METRIC.findall(_GROUPED.sub("", _ALTERNATIVES.sub("", expression))):
        metrics.setdefault(name, set()).update(_KEYS.findall(selector))
    grouped = {label.strip() for labels in _GROUPED.findall(expression) for label in labels.split(",")}
    return Asked(where, expression, metrics, grouped - {""})


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of one file."""
    document = yaml.safe_load((MONITORING / "rules" / f"{name}.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[tuple[str, dict[str, Any]]]:
    """Every panel of every dashboard that asks something, with the dashboard's uid."""
    found = []
    for path in sorted((MONITORING / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        found += [(board["uid"], one) for one in board["panels"] if one.get("targets")]
    return found


def everything_asked() -> list[Asked]:
    """All expressions of dashboards and rules."""
    asked = [
        asked_of(f"{uid}: {panel['title']}", target["expr"])
        for uid, panel in panels()
        for target in panel["targets"]
    ]
    asked += [asked_of(rule["record"], rule["expr"]) for rule in rules("recording")]
    return asked + [asked_of(rule["alert"], rule["expr"]) for rule in rules("alerts")]
