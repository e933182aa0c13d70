"""Every image, built and run for real: python -m tools.images [--skip-build]

Builds the image of each service with buildah, starts each service from its own image as the image's own
user with read-only weights, Valkey behind and Envoy in front, and sends a photo through all of it. Prints
the sizes, and writes out/images.png. Skips with the reason where buildah is missing. What it does not
show: limits of a container engine, its networks, read-only roots.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from matteworks_cli.rest_client import RestClient
from matteworks_deploy.local.options import StackOptions
from matteworks_deploy.local.process import ProcessSpec
from matteworks_deploy.local.stack import running_stack
from matteworks_deploy.topology import SERVICES, Service

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "cli" / "matteworks_cli" / "demo" / "astronaut.jpg"
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
    containers = {row.name: buildah("from", "--pull-never", image_of(row)).strip() for row in SERVICES}
    try:
        asyncio.run(send_a_photo(containers, arguments.models_dir))
    finally:
        for container in containers.values():
            buildah("rm", container)
    return 0


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


async def send_a_photo(containers: dict[str, str], models: Path) -> None:
    """The whole stack with every service in its container, and one cut-out through REST and Envoy."""

    def contained(row: Service, spec: ProcessSpec) -> ProcessSpec:
        prefix = row.variable("")
        variables = {name: value for name, value in spec.environment.items() if name.startswith(prefix)}
        # Pages for this machine's visitors are not what is tried here; its file is not in the container.
        variables.pop(row.variable("BROWSER_KEY_FILE"), None)
        # They share this machine's ports here.
        variables[row.variable("METRICS_PORT")] = "0"
        mounts = []
        if row.name == "inference":
            variables[row.variable("MODEL_DIRECTORY")] = "/models"
            mounts = ["--volume", f"{models.absolute()}:/models:ro"]
        options = [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]
        argv = (
            *(
                shutil.which("buildah") or "buildah",
                "run",
                "--network",
                "host",
                "--user",
                "10001:10001",
                *options,
                *mounts,
            ),
            *(containers[row.name], "--", "serve"),
        )
        return dataclasses.replace(spec, argv=argv, environment={**os.environ, **ISOLATION})

    with tempfile.TemporaryDirectory() as state:
        options = StackOptions(port=0, state_directory=Path(state), models_directory=models)

        def write_line(name: str, line: str) -> None:
            print(f"{name:>12} | {line}", file=sys.stderr)

        async with running_stack(options, dict(os.environ), write_line, contained) as stack:

            def cut() -> bytes:
                with RestClient(stack.base_url, stack.key) as client:
                    return client.remove_background(PHOTO, {"size": "auto"}).image

            image = await asyncio.to_thread(cut)
    target = ROOT / "out" / "images.png"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(image)
    print(f"200 OK | every service from its image | weights read-only | {target.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
