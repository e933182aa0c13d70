"""What a stack keeps on disk: secrets, the development key, the store's data, facts about the run.

STATE/dev-key             key of the development account
STATE/browser-key         another key of it, which the page to try hands to visitors
STATE/secrets/            pepper, administration token, store password; made once, mode 0600
STATE/results/             what batches made, until it is deleted
STATE/valkey/             accounts and credits (append-only file)
STATE/run/                configurations and `stack.json` of the running stack
STATE/metrics-targets.json  where Prometheus reads the counters of the running stack

Beside it, on Linux, a directory in memory through which services of the running stack hand pixels over.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from matteworks_deploy.failures import EXIT_USAGE, CommandFailed

_SECRET_BYTES = 32
# Where Linux has a file system in memory for programs.
_MEMORY = Path("/dev/shm")  # noqa: S108


@dataclass(frozen=True, slots=True)
class StackFacts:
    """Where a running stack is reached. `addresses` and `pids` are by process name; the launcher has a
    pid too.
    """

    base_url: str
    internal_target: str
    envoy_admin: str
    addresses: Mapping[str, str]
    pids: Mapping[str, int]
    # The caller's certificates for the internal listener; empty: it speaks plaintext.
    tls_directory: str = ""


class StateDirectory:
    """The directory of one stack. Made, and readable by its owner only, on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.run_path = self.path / "run"
        self.valkey_path = self.path / "valkey"
        self.results_path = self.path / "results"
        self._secrets_path = self.path / "secrets"
        self._facts_path = self.run_path / "stack.json"
        self.metrics_targets_path = self.path / "metrics-targets.json"
        self._dev_key_path = self.path / "dev-key"
        self.browser_key_path = self.path / "browser-key"
        self._shared_memory_name = f"matteworks-{hashlib.sha256(bytes(self.path)).hexdigest()[:16]}"

    def prepare(self) -> None:
        """Make the directories. Raises CommandFailed when that is not allowed."""
        try:
            for path in (self.path, self.run_path, self.valkey_path, self.results_path, self._secrets_path):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CommandFailed(
                f"The state directory {self.path} cannot be made: {error.strerror}. "
                "Choose another with --state-dir.",
                EXIT_USAGE,
            ) from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process. Raises CommandFailed when another stack runs in it."""
        descriptor = os.open(self.run_path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise CommandFailed(
                    f"A stack is already running in {self.path}; stop it or choose another --state-dir.",
                    EXIT_USAGE,
                ) from error
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def shared_memory(self) -> Iterator[Path | None]:
        """An empty directory in memory while the block runs; None where the system offers none.

        Only for who holds the lock: what an earlier run left there is removed.
        """
        path = _MEMORY / self._shared_memory_name
        shutil.rmtree(path, ignore_errors=True)
        try:
            path.mkdir(mode=0o700)
        except OSError:
            yield None
            return
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def secret(self, name: str) -> str:
        """The secret of that name, made on first use."""
        path = self._secrets_path / name
        if not path.exists():
            write_private(path, secrets.token_urlsafe(_SECRET_BYTES))
        return path.read_text().strip()

    def existing_secret(self, name: str) -> str | None:
        """The secret of that name; None when no stack has made it yet."""
        path = self._secrets_path / name
        return path.read_text().strip() if path.exists() else None

    def read_dev_key(self) -> str | None:
        """The development key; None when there is none yet."""
        return self._dev_key_path.read_text().strip() if self._dev_key_path.exists() else None

    def write_dev_key(self, key: str) -> None:
        """Keep `key` for the next start and for whoever looks."""
        write_private(self._dev_key_path, key)

    def read_browser_key(self) -> str | None:
        """The key for visitors of the page to try; None when there is none yet."""
        return self.browser_key_path.read_text().strip() if self.browser_key_path.exists() else None

    def write_browser_key(self, key: str) -> None:
        """Keep `key` for the console, which reads it from the file."""
        write_private(self.browser_key_path, key)

    def read_facts(self) -> StackFacts | None:
        """Where the stack of this directory runs; None when none does."""
        try:
            return StackFacts(**json.loads(self._facts_path.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write_facts(self, facts: StackFacts) -> None:
        """Tell others where the stack runs."""
        write_private(self._facts_path, json.dumps(asdict(facts), indent=2))

    def write_metrics_targets(self, targets: str) -> None:
        """Tell Prometheus where the counters are."""
        write_private(self.metrics_targets_path, targets)

    def forget_facts(self) -> None:
        """The stack has stopped."""
        self._facts_path.unlink(missing_ok=True)
        self.metrics_targets_path.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write `text` and a newline so that readers see the old file or the new one; mode 0600."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text + "\n")
    unfinished.replace(path)
