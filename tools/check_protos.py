"""Lint the contracts, and refuse what breaks callers of the last release.

Rules are Buf's STANDARD and COMMENTS sets; the last release is `protos/baseline.binpb`. `--accept` makes the
current contracts the new baseline: only when a release is cut.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
BASELINE = PROTOS / "baseline.binpb"
_BUF = Path(sys.executable).parent / "buf"


def problems(protos: Path = PROTOS, baseline: Path = BASELINE) -> list[str]:
    """What is wrong with the contracts in `protos`; empty when nothing is."""
    return [
        *_run("lint", str(protos)),
        *_run("breaking", str(protos), "--against", str(baseline)),
    ]


def accept() -> None:
    """Make the current contracts the baseline."""
    _run("build", str(PROTOS), "-o", str(BASELINE))


def _run(*arguments: str) -> list[str]:
    result = subprocess.run([_BUF, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    lines = (result.stdout + result.stderr).splitlines()
    if result.returncode and not lines:
        return [f"buf {arguments[0]} failed with exit code {result.returncode}"]
    return lines if result.returncode else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accept", action="store_true", help="make the current contracts the baseline")
    if parser.parse_args().accept:
        accept()
        return 0
    found = problems()
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
