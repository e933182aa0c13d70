"""The chart's objects against checkov's policies: python -m tools.policy CHECKOV

Renders the sets of values of the tests into out/policy/ and runs the program CHECKOV over them, with the
explained exceptions of deploy/charts/checkov.yaml. An exception that nothing needs any more fails, too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from tests.contract.chart.rendering import VALUES, rendered

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "deploy" / "charts" / "checkov.yaml"
TARGET = ROOT / "out" / "policy"


def main() -> int:
    """The exit status: 0 when every policy holds that is not excepted."""
    (checkov,) = sys.argv[1:]
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    for name in VALUES:
        path = TARGET / f"{name.replace(' ', '-')}.yaml"
        path.write_text(yaml.safe_dump_all(rendered(name), sort_keys=False))
    # All policies are run here, so that an exception is seen to be needed.
    excepted = set(yaml.safe_load(CONFIG.read_text())["skip-check"])
    report = scan(checkov, "--framework", "kubernetes", "--skip-download")
    failed = {one["check_id"]: one for one in report["results"]["failed_checks"]}
    for identifier in sorted(set(failed) - excepted):
        print(f"FAILED {identifier}: {failed[identifier]['check_name']} ({failed[identifier]['resource']})")
    for identifier in sorted(excepted - set(failed)):
        print(f"NOT NEEDED {identifier}: nothing fails without this exception")
    summary = report["summary"]
    print(
        f"checkov {summary['checkov_version']}: {summary['passed']} checks passed on "
        f"{summary['resource_count']} objects; excepted: {', '.join(sorted(excepted & set(failed)))}"
    )
    return int(set(failed) != excepted)


def scan(checkov: str, *options: str) -> dict[str, Any]:
    """Checkov's report. Ends the program when it makes none."""
    done = subprocess.run(
        [checkov, "--directory", TARGET, *options, "--output", "json"],
        env={**os.environ, "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        sys.exit(f"checkov failed:\n{done.stderr[-3000:]}")
    return report


if __name__ == "__main__":
    sys.exit(main())
