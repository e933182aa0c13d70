"""Helm's own engine, each call in a process of its own.

The engine is written in Go. Once it is loaded, Go's runtime handles the signals of its process, and the next
write to a connection that the other end has closed kills a Python that keeps faulthandler's small stack for
signals, as pytest does. So nothing but this program loads it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

__all__ = ["HelmRefused", "lint", "metadata", "objects", "render"]

_REFUSED = 3


class HelmRefused(Exception):
    """Helm does not take the chart or its values, in its own words."""


def render(chart: Path, values: dict[str, Any], *, name: str, namespace: str) -> dict[str, str]:
    """The text of each template by its path. Raises HelmRefused."""
    texts: dict[str, str] = _ask("render", chart, values, {"name": name, "namespace": namespace})
    return texts


def objects(chart: Path, values: dict[str, Any], *, name: str, namespace: str) -> list[dict[str, Any]]:
    """Every object of the rendered templates. Raises HelmRefused."""
    return [
        found
        for path, text in render(chart, values, name=name, namespace=namespace).items()
        if not path.endswith(".txt")
        for found in yaml.load_all(text, yaml.CSafeLoader)
        if found
    ]


def lint(chart: Path, values: dict[str, Any], *, namespace: str) -> dict[str, Any]:
    """What the strict linter says: `errors` and `messages`, each with its `severity`. Raises HelmRefused."""
    report: dict[str, Any] = _ask("lint", chart, values, {"strict": True, "namespace": namespace})
    return report


def metadata(chart: Path) -> dict[str, Any]:
    """Chart.yaml as Helm reads it. Raises HelmRefused."""
    known: dict[str, Any] = _ask("metadata", chart, {}, {})
    return known


def _ask(task: str, chart: Path, values: dict[str, Any], options: dict[str, Any]) -> Any:
    done = subprocess.run(
        [sys.executable, "-I", __file__, task, str(chart)],
        input=json.dumps([values, options]),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == _REFUSED:
        raise HelmRefused(done.stdout)
    if done.returncode:
        raise RuntimeError(f"Helm's engine ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def _main() -> int:
    import helm_python

    task, chart_path = sys.argv[1:]
    values, options = json.load(sys.stdin)
    try:
        if task == "lint":
            answer: Any = helm_python.lint(chart_path, values, **options)
        else:
            with helm_python.Chart.load(chart_path) as chart:
                answer = chart.metadata if task == "metadata" else chart.render(values, **options)
    except helm_python.HelmError as error:
        sys.stdout.write(str(error))
        return _REFUSED
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(_main())
