"""Every image, built and run for real: python -m tools.images [--skip-build]

Builds the image of each service with buildah, prints the sizes, and runs the images as the chart's pods
(tools.pods). Skips with the reason where buildah is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from matteworks_deploy.topology import SERVICES, Service

ROOT = Path(__file__).resolve().parent.parent
# Needs no daemon and no kernel features that a build machine may lack.
ISOLATION = {"BUILDAH_ISOLATION": "chroot"}
# What a build machine knows of registries and certificates, so that a build may install as the machine does.
MACHINE_FILES = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt", "/usr/local/share/ca-certificates")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--skip-build", action="store_true", help="use the images that are there")
    parser.add_argument("--models-dir", type=Path, default=ROOT / "models")
    arguments = parser.parse_args()
    if shutil.which("buildah") is None:
        print("skipped: buildah is not installed (Debian: apt-get install buildah)")
        return 0
    if not arguments.skip_build:
        for row in SERVICES:
            build(row)
    for row in SERVICES:
        size = buildah("images", "--format", "{{.Size}}", image_of(row))
        print(f"{row.name}: {size.strip()}")
    return subprocess.run(
        [sys.executable, "-m", "tools.pods", "--models-dir", arguments.models_dir], cwd=ROOT, check=False
    ).returncode


def image_of(row: Service) -> str:
    """The name of a service's image."""
    return f"matteworks-{row.name}"


def build(row: Service) -> None:
    """Build the image from this checkout."""
    start = time.monotonic()
    files = [f"--volume={path}:{path}:ro" for path in MACHINE_FILES if Path(path).exists()]
    buildah(
        "build", "--network", "host", *files, "--file", "deploy/Dockerfile", "--build-arg",
        f"SERVICE={row.name}", "--tag", image_of(row), ".",
    )  # fmt: skip
    print(f"built {image_of(row)} in {time.monotonic() - start:.0f} s")


def buildah(*arguments: str) -> str:
    """What buildah prints. Ends the program with its complaint when it fails."""
    done = subprocess.run(
        ["buildah", *arguments],
        cwd=ROOT,
        env={**os.environ, **ISOLATION},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"buildah {arguments[0]} failed:\n{done.stderr[-3000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
