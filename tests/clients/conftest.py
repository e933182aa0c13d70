"""The clients, installed once, and the pictures that they send."""

from __future__ import annotations

import io
import json
import os
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.clients.installs import Client, Installation, NotInstalled, install
from tests.support.stack import RunningStack

PROGRAMS = Path(__file__).parent / "programs"
PROGRAM_TIMEOUT_S = 60
WRONG_KEY = "mw_live_notakeyofours_0000000000000000000000000000000000000000000000000000"

_missing: dict[str, str] = {}


@dataclass(frozen=True)
class Outcome:
    """What a client's program made of its work: `facts` is the JSON object that it printed last."""

    facts: dict[str, object]
    output: Path


@dataclass(frozen=True)
class Bench:
    """A stack, a photo and the clients' programs."""

    stack: RunningStack
    photo: Path
    scratch: Path
    installed: Callable[[Client], Installation]

    def use(self, client: Client, action: str, key: str | None = None) -> Outcome:
        """Run the client's program. `action` is remove, account or error. Fails when the program does."""
        installation = self.installed(client)
        output = self.scratch / "result"
        done = subprocess.run(
            [*installation.command, action, str(self.photo), str(output)],
            capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, cwd=self.scratch,
            env={
                **os.environ, **installation.environment,
                "STACK_URL": self.stack.base_url, "STACK_KEY": key or self.stack.key,
            },
        )  # fmt: skip
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return Outcome(json.loads(done.stdout.strip().splitlines()[-1]), output)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Client], Installation]:
    """Installs a client on its first use. One that cannot be had is an expected failure with its reason,
    and is named again below the results.
    """
    done: dict[str, Installation] = {}

    def find(client: Client) -> Installation:
        if client.name not in done and client.name not in _missing:
            try:
                done[client.name] = install(client, PROGRAMS, tmp_path_factory.mktemp("client"))
            except NotInstalled as error:
                _missing[client.name] = str(error)
        if client.name in _missing:
            pytest.xfail(f"{client.name} could not be installed: {_missing[client.name]}")
        return done[client.name]

    return find


@pytest.fixture
def upload(demo_photo: Path) -> bytes:
    """A photo of a person as a JPEG, 512 × 512, unlike every other upload: an equal one would be a repeat."""
    # Bytes after a JPEG's end are ignored.
    return demo_photo.read_bytes() + uuid.uuid4().bytes


@pytest.fixture
def bench(
    running_stack: RunningStack,
    upload: bytes,
    tmp_path: Path,
    installed: Callable[[Client], Installation],
) -> Bench:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(upload)
    return Bench(running_stack, photo, tmp_path, installed)


def open_cutout(body: bytes) -> Image.Image:
    """The picture, decoded; fails unless something is cut out of it and something is left."""
    image = Image.open(io.BytesIO(body))
    image.load()
    lowest, highest = image.getchannel("A").getextrema()
    assert (lowest, highest) == (0, 255), "no part is transparent, or none is opaque"
    return image


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names clients that did not run: nobody should take them for proven."""
    if not _missing:
        return
    terminalreporter.section("clients that did not run")
    for name, reason in _missing.items():
        terminalreporter.line(f"{name}: {reason}")
