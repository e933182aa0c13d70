"""Installs the real clients from their registries, each client for itself, and says what could not be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INSTALL_TIMEOUT_S = 90
# Of what an installer says in characters; the cause comes first.
REASON_LENGTH = 300


@dataclass(frozen=True)
class Client:
    """A client that we did not write, and the program in `programs/` that uses it as its users do.

    `packages` are requirements of its registry. `has_account_call` is whether it can ask for the balance.
    """

    name: str
    program: str
    packages: tuple[str, ...]
    has_account_call: bool = False

    @property
    def is_python(self) -> bool:
        return self.program.endswith(".py")


CLIENTS = (
    Client("removebg", "removebg_client.py", ("removebg==0.4", "requests>=2")),
    Client("rembgpy", "rembgpy_client.py", ("rembgpy==1.0.1", "requests>=2")),
    Client("remove-bg-api", "remove_bg_api_client.py", ("remove-bg-api==0.2.1", "requests>=2"), True),
    Client("RemoveBgPlus", "removebgplus_client.py", ("RemoveBgPlus==0.1.2",)),
    Client("removebg-cli", "removebg_cli_client.py", ("removebg-cli==1.0.0", "requests>=2"), True),
    Client("remove.bg", "remove_bg_client.js", ("remove.bg@1.3.0",)),
    Client("removebg-wrapper", "removebg_wrapper_client.js", ("removebg-wrapper@1.0.3",)),
    Client("axios and form-data", "axios_client.js", ("axios@1", "form-data@4"), True),
    Client("pyclipdrop", "pyclipdrop_client.py", ("pyclipdrop==1.0.1",)),
    Client("photoroom-cli", "photoroom_cli_client.mjs", ("photoroom-cli@1.7.1",), True),
    Client("native fetch", "fetch_client.mjs", (), True),
    Client("curl", "curl_client.sh", (), True),
)


class NotInstalled(Exception):
    """The reason is the message."""


@dataclass(frozen=True)
class Installation:
    """Where a client's program finds its client: the command that starts it."""

    command: tuple[str, ...]
    environment: dict[str, str]


def install(client: Client, programs: Path, directory: Path) -> Installation:
    """Raises NotInstalled when the interpreter, the registry or the package is out of reach."""
    program = programs / client.program
    if client.is_python:
        return _install_python(client, program, directory)
    if client.program.endswith(".sh"):
        return Installation((_tool("sh"), str(program)), {})
    node = _tool("node")
    if client.packages:
        run_installer(
            _tool("npm"), "install", "--loglevel=error", "--no-audit", "--no-fund", "--ignore-scripts",
            "--prefix", str(directory), *client.packages,
        )  # fmt: skip
    preload = ("--require", str(programs / "reroute.js"))
    return Installation((node, *preload, str(program)), {"NODE_PATH": str(directory / "node_modules")})


def _install_python(client: Client, program: Path, directory: Path) -> Installation:
    run_installer(sys.executable, "-m", "venv", "--without-pip", str(directory))
    # Our own pip installs into it: a second pip for each client would cost seconds each.
    run_installer(
        sys.executable, "-m", "pip", "--python", str(directory / "bin" / "python"), "install",
        "--quiet", "--disable-pip-version-check", *client.packages,
    )  # fmt: skip
    # Its own programs, such as `removebg`, before those of the machine.
    path = f"{directory / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return Installation((str(directory / "bin" / "python"), str(program)), {"PATH": path})


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NotInstalled(f"{name} is not on this machine")
    return found


def run_installer(*command: str, timeout_s: float = INSTALL_TIMEOUT_S) -> None:
    """Run an installer. Raises NotInstalled with what it says."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(str(error)) from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise NotInstalled(said[:REASON_LENGTH] or f"{command[0]} ended with {done.returncode}")
