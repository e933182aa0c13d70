"""One machine's share of a bulk run: shard after shard, pictures of a shard side by side."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Protocol

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import ObjectStore

from matteworks_cli.bulk.shards import Outcome, Shard, ShardBooks
from matteworks_cli.rest_client import Refused, RestCutout
from matteworks_deploy.failures import EXIT_FAILED, CommandFailed


class Cutter(Protocol):
    """Makes cut-outs; `RestClient` does."""

    def cut_out(
        self, name: str, content: bytes, parameters: Mapping[str, str], *, idempotency_key: str = ""
    ) -> RestCutout:
        """The cut-out of one picture. Raises Refused."""


@dataclass(slots=True)
class Tally:
    """What this machine has done so far; read by whoever shows it."""

    made: int = 0
    found: int = 0
    failed: int = 0
    shards: int = 0
    lost_shards: int = 0

    @property
    def seen(self) -> int:
        """Pictures that are off this machine's list."""
        return self.made + self.found + self.failed


@dataclass(frozen=True, slots=True)
class BulkWorker:
    """Does shards until there is none left for it.

    A picture whose result exists is not sent again. A server that cannot be reached, an account that is
    spent: the worker tries again for `patience_s`, then gives up with CommandFailed; its shard is left to
    whoever comes next, a later run of itself included.
    """

    source: ObjectStore
    target: ObjectStore
    books: ShardBooks
    cutter: Cutter
    parameters: Mapping[str, str]
    suffix: str
    jobs: int
    lease_s: float
    patience_s: float
    poll_s: float
    max_picture_bytes: int
    tell: Callable[[str], None]
    tally: Tally = field(default_factory=Tally)
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic

    def run(self, *, is_retrying_failures: bool = False) -> None:
        """Work until every picture of the source is in a finished shard."""
        retried: set[int] = set()
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="bulk") as pool:
            while True:
                shard = self.books.next_new() or self.books.next_abandoned()
                if shard is None and is_retrying_failures:
                    shard = self.books.next_failed(frozenset(retried))
                    if shard:
                        retried.add(shard.number)
                if shard:
                    self._do(shard, pool)
                elif self.books.is_finished():
                    return
                else:
                    # Others are still at theirs; one of them may yet be lost.
                    self.sleep(self.poll_s)

    def _do(self, shard: Shard, pool: ThreadPoolExecutor) -> None:
        with self._heart(shard) as is_lost:
            outcomes: dict[str, Outcome] = {}
            pending: dict[Future[Outcome], str] = {}
            keys = iter(shard.keys)
            try:
                for key in keys:
                    pending[pool.submit(self._cut, key, is_lost)] = key
                    if len(pending) >= 2 * self.jobs:
                        self._collect(pending, outcomes)
                    if is_lost.is_set():
                        break
                while pending:
                    self._collect(pending, outcomes)
            except BaseException:
                is_lost.set()
                raise
            if is_lost.is_set():
                self.tally.lost_shards += 1
                self.tell(f"shard {shard.name} was taken over by another machine")
                return
            self.books.finish(shard, [outcomes[key] for key in shard.keys])
            self.tally.shards += 1

    def _collect(self, pending: dict[Future[Outcome], str], outcomes: dict[str, Outcome]) -> None:
        done, _ = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            outcomes[pending.pop(future)] = future.result()

    def _cut(self, key: str, is_lost: threading.Event) -> Outcome:
        result = result_key(key, self.suffix)
        if is_lost.is_set():
            return Outcome(key, result, "not done")
        if self._exists(result):
            self.tally.found += 1
            return Outcome(key, result)
        try:
            cutout = self._patiently(key, is_lost)
            self.target.put(result, cutout.image, mode="create")
        except AlreadyExistsError:
            self.tally.found += 1
        except (Refused, FileNotFoundError) as error:
            self.tally.failed += 1
            self.tell(f"{key}: {error}")
            return Outcome(key, result, str(error))
        else:
            self.tally.made += 1
        return Outcome(key, result)

    def _patiently(self, key: str, is_lost: threading.Event) -> RestCutout:
        content = self._read(key)
        # The same for every machine and every attempt, so that one picture is charged once.
        idempotency_key = hashlib.sha256(repr((key, sorted(self.parameters.items()))).encode()).hexdigest()
        give_up_at = self.now() + self.patience_s
        pause_s = 1.0
        while True:
            try:
                return self.cutter.cut_out(
                    PurePosixPath(key).name, content, self.parameters, idempotency_key=idempotency_key
                )
            except Refused as refused:
                if refused.is_about_photo:
                    raise
                if self.now() + pause_s > give_up_at or is_lost.is_set():
                    raise CommandFailed(
                        f"Gave up at {key}: {refused}. Run the same command again to go on.", EXIT_FAILED
                    ) from refused
                self.sleep(pause_s)
                pause_s = min(2 * pause_s, 30.0)

    def _read(self, key: str) -> bytes:
        answer = self.source.get(key)
        size = answer.meta["size"]
        if size > self.max_picture_bytes:
            raise Refused(f"{size} bytes are more than a picture may have ({self.max_picture_bytes})")
        return bytes(answer.bytes())

    def _exists(self, result: str) -> bool:
        try:
            self.target.head(result)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def _heart(self, shard: Shard) -> Iterator[threading.Event]:
        """Beat three times a lease while the block runs. The event is set when the shard is lost."""
        is_lost, is_done = threading.Event(), threading.Event()

        def beat() -> None:
            while not is_done.wait(self.lease_s / 3):
                try:
                    if not self.books.beat(shard):
                        is_lost.set()
                        return
                except BaseError as error:
                    self.tell(f"the store does not answer: {error}")

        thread = threading.Thread(target=beat, name="bulk-heart", daemon=True)
        thread.start()
        try:
            yield is_lost
        finally:
            is_done.set()
            thread.join()


def result_key(key: str, suffix: str) -> str:
    """Where the result of `key` lies: the whole name stays, so that a.jpg and a.png do not meet."""
    return f"{key}.{suffix}"
