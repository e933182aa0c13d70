"""The real stack for tests: every process as `matteworks up` starts it, and a way to reach each part."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from matteworks_deploy.local.options import DEFAULT_MODELS_DIRECTORY

ROOT = Path(__file__).resolve().parents[2]
MODELS_DIRECTORY = Path(
    os.environ.get("MATTEWORKS_INFERENCE_MODEL_DIRECTORY", ROOT / DEFAULT_MODELS_DIRECTORY)
)
# The small network: a test of the whole stack is about the stack.
FAST_MODEL = "u2netp"
# Needs not be named to a stack: it is loaded when it is first used.
UPSCALER = "esrgan-thick-x4"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 40.0

_REMOVED_VARIABLES = ("MATTEWORKS_API_KEY", "MATTEWORKS_BASE_URL", "MATTEWORKS_INTERNAL_TARGET")


@dataclass(frozen=True)
class RunningStack:
    """A stack that answers. `log` grows while it runs."""

    base_url: str
    key: str
    state_directory: Path
    ready_after_s: float
    launcher: subprocess.Popen[str]
    log: list[str]

    @property
    def facts(self) -> dict[str, object]:
        """What the launcher tells about its processes, as of now."""
        facts: dict[str, object] = json.loads((self.state_directory / "run" / "stack.json").read_text())
        return facts

    @property
    def internal_target(self) -> str:
        """Host and port of the listener between the services."""
        return str(self.facts["internal_target"])

    @property
    def admin_token(self) -> str:
        """The token of KeyAdminService."""
        return (self.state_directory / "secrets" / "admin-token").read_text().strip()

    @property
    def process_names(self) -> list[str]:
        """Every process but the launcher."""
        pids = self.facts["pids"]
        assert isinstance(pids, dict)
        return [name for name in pids if name != "launcher"]

    @property
    def pids(self) -> list[int]:
        """Every process, the launcher included, as of now."""
        pids = self.facts["pids"]
        assert isinstance(pids, dict)
        return [int(pid) for pid in pids.values()]

    def pid(self, name: str) -> int:
        """The process id of `name`, as of now."""
        pids = self.facts["pids"]
        assert isinstance(pids, dict)
        return int(pids[name])

    def address(self, name: str) -> str:
        """Host and port of the process."""
        addresses = self.facts["addresses"]
        assert isinstance(addresses, dict)
        return str(addresses[name])

    def kill(self, name: str) -> int:
        """`kill -9` the process and return the id that it had."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        return pid

    def envoy_counters(self, pattern: str) -> dict[str, int]:
        """Envoy's own counters whose names match the regular expression."""
        transport = httpx.HTTPTransport(uds=str(self.facts["envoy_admin"]))
        with httpx.Client(transport=transport, base_url="http://envoy", timeout=10) as client:
            text = client.get("/stats", params={"filter": pattern}).raise_for_status().text
        pairs = (line.split(": ") for line in text.splitlines() if line.count(": ") == 1)
        return {name: int(value) for name, value in pairs if value.isdecimal()}

    def wait_until_ready(self, timeout_s: float = 60.0) -> None:
        """Until the whole path answers again."""
        deadline = time.monotonic() + timeout_s
        with httpx.Client(timeout=5) as client:
            while time.monotonic() < deadline:
                try:
                    if client.get(f"{self.base_url}/readyz").status_code == httpx.codes.OK:
                        return
                except httpx.HTTPError:
                    pass
                threading.Event().wait(0.1)
        raise AssertionError("the stack did not become ready again:\n" + "\n".join(self.log[-30:]))


@contextmanager
def stack(
    state_directory: Path, *options: str, settings: Mapping[str, str] | None = None
) -> Iterator[RunningStack]:
    """`matteworks up` on free ports with its state in `state_directory`, for the length of the block.

    `settings` are variables for the services.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in _REMOVED_VARIABLES}
    environment = {**inherited, **(settings or {})}
    started_s = time.monotonic()
    launcher = subprocess.Popen(
        [
            sys.executable, "-m", "matteworks_cli", "up", "--port", "0",
            "--state-dir", str(state_directory), "--models-dir", str(MODELS_DIRECTORY), *options,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT,
    )  # fmt: skip
    log: list[str] = []
    ready: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(launcher, log, ready), daemon=True)
    reader.start()
    try:
        line = ready.get(timeout=START_TIMEOUT_S)
        assert line is not None, "the stack did not start:\n" + "\n".join(log[-40:])
        _, base_url, key = line.split()
        yield RunningStack(
            base_url=base_url,
            key=key.removeprefix("key="),
            state_directory=state_directory,
            ready_after_s=time.monotonic() - started_s,
            launcher=launcher,
            log=log,
        )
    finally:
        launcher.terminate()
        try:
            launcher.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            launcher.kill()
            launcher.wait()
        reader.join(timeout=5)
        assert launcher.stdout is not None
        launcher.stdout.close()


def living_processes(pids: Iterable[int]) -> list[int]:
    """Those of `pids` that still run. One that has ended and was not yet collected does not."""
    return [pid for pid in pids if _status(pid) not in {"", "Z", "X"}]


def processes_of(state_directory: Path) -> list[int]:
    """Processes that carry the state directory in their environment, whoever started them."""
    marker = os.fsencode(f"MATTEWORKS_STATE_DIRECTORY={state_directory}")
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and marker in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return living_processes(found)


def _status(pid: int) -> str:
    try:
        # The name is in parentheses and may hold anything; the status letter follows it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def _read(launcher: subprocess.Popen[str], log: list[str], ready: queue.Queue[str | None]) -> None:
    assert launcher.stdout is not None
    for line in launcher.stdout:
        text = line.rstrip()
        log.append(text)
        if text.startswith("READY "):
            ready.put(text)
    ready.put(None)
