"""What carries the release's version carries the same one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_chart_has_the_version_of_the_wheel() -> None:
    chart: dict[str, Any] = yaml.safe_load((ROOT / "deploy/charts/matteworks/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)


def test_the_changelog_tells_what_is_in_it() -> None:
    assert f"\n## {VERSION}" in (ROOT / "CHANGELOG.md").read_text()
