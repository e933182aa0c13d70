"""Who does which pictures, agreed through the target itself: no coordinator, no lock but conditional create.

The books lie in the target under `_matteworks/`:

    order.json            what the run does; made once, and every machine must ask for the same
    shards/00000012.json  the keys of one shard; whoever makes it owns it
    claims/00000012.3     the third takeover of that shard
    beats/00000012        touched by the owner; older than the lease, and the shard may be taken over
    manifests/00000012.jsonl   what became of each picture; the shard is finished

A shard takes up where the one before it ended, so the plan grows as it is worked off, and two machines that
plan the same shard disagree on nothing: one of them makes it, the other reads it and goes on.
Ages are differences between times of the store, so that the machines' clocks do not matter.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore

from matteworks_cli.bulk.stores import BOOKS, pictures_after
from matteworks_deploy.failures import EXIT_USAGE, CommandFailed


@dataclass(frozen=True, slots=True)
class Shard:
    """Some pictures that one machine does. `takeover` counts how often another took it over."""

    number: int
    keys: tuple[str, ...]
    takeover: int

    @property
    def name(self) -> str:
        """Sorts as the number does."""
        return f"{self.number:08d}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture. `error` is empty when its result lies at `result`."""

    key: str
    result: str
    error: str = ""


class ShardBooks:
    """The books of one run, from the view of one machine, `owner`."""

    def __init__(
        self, source: ObjectStore, target: ObjectStore, owner: str, *, shard_size: int, lease_s: float
    ) -> None:
        self._source = source
        self._target = target
        self._owner = owner
        self._shard_size = shard_size
        self._lease = timedelta(seconds=lease_s)
        self._last: Shard | None = None

    def agree(self, order: dict[str, object]) -> None:
        """Make this the order of the target. Raises CommandFailed when the target has another one."""
        path = f"{BOOKS}/order.json"
        try:
            self._target.put(path, json.dumps(order, sort_keys=True).encode(), mode="create")
        except AlreadyExistsError:
            there = json.loads(self._read(path))
            different = sorted(name for name in {*there, *order} if there.get(name) != order.get(name))
            if different:
                raise CommandFailed(
                    f"The target holds a run with other options ({', '.join(different)}); "
                    "repeat those, or choose another target.",
                    EXIT_USAGE,
                ) from None

    def next_new(self) -> Shard | None:
        """Plan and own the next shard; None when every picture is in one."""
        while True:
            last = self._last_shard()
            after = last.keys[-1] if last else ""
            keys = tuple(itertools.islice(pictures_after(self._source, after), self._shard_size))
            if not keys:
                return None
            shard = Shard(last.number + 1 if last else 0, keys, 0)
            document = json.dumps({"keys": keys, "owner": self._owner}).encode()
            try:
                self._target.put(self._shard_path(shard.number), document, mode="create")
            except AlreadyExistsError:
                continue
            self._last = shard
            self.beat(shard)
            return shard

    def next_abandoned(self) -> Shard | None:
        """Take over a shard whose owner has been silent for longer than the lease; None: there is none."""
        for name in self._unfinished():
            number = int(name)
            if self._is_abandoned(number) and (shard := self._take_over(number)):
                return shard
        return None

    def next_failed(self, done: frozenset[int]) -> Shard | None:
        """Take a finished shard with failures, other than `done`, to try them again; None: there is none."""
        for number in self.finished():
            has_failures = number not in done and any(outcome.error for outcome in self.outcomes(number))
            if has_failures and (shard := self._take_over(number)):
                return shard
        return None

    def beat(self, shard: Shard) -> bool:
        """Say that the owner is alive. False: another machine has taken the shard over."""
        if any(
            int(name.rpartition(".")[2]) > shard.takeover for name in self._names(f"claims/{shard.name}.")
        ):
            return False
        self._target.put(f"{BOOKS}/beats/{shard.name}", self._owner.encode())
        return True

    def finish(self, shard: Shard, outcomes: Sequence[Outcome]) -> None:
        """Write the shard's manifest."""
        lines = "".join(json.dumps(asdict(outcome)) + "\n" for outcome in outcomes)
        self._target.put(f"{BOOKS}/manifests/{shard.name}.jsonl", lines.encode())

    def is_finished(self) -> bool:
        """Whether every planned shard has its manifest."""
        return next(iter(self._unfinished()), None) is None

    def finished(self) -> Iterator[int]:
        """Numbers of the shards that have a manifest."""
        return (int(name.removesuffix(".jsonl")) for name in self._names("manifests/"))

    def outcomes(self, number: int) -> list[Outcome]:
        """The manifest of a finished shard."""
        text = self._read(f"{BOOKS}/manifests/{number:08d}.jsonl").decode()
        return [Outcome(**json.loads(line)) for line in text.splitlines()]

    def _unfinished(self) -> Iterator[str]:
        finished = {f"{number:08d}" for number in self.finished()}
        return (
            name.removesuffix(".json")
            for name in self._names("shards/")
            if name.removesuffix(".json") not in finished
        )

    def _take_over(self, number: int) -> Shard | None:
        takeover = self._takeover_count(number) + 1
        try:
            claim = f"{BOOKS}/claims/{number:08d}.{takeover}"
            self._target.put(claim, self._owner.encode(), mode="create")
        except AlreadyExistsError:
            return None
        shard = Shard(number, self._read_shard(number).keys, takeover)
        self.beat(shard)
        return shard

    def _takeover_count(self, number: int) -> int:
        return sum(1 for _ in self._names(f"claims/{number:08d}."))

    def _is_abandoned(self, number: int) -> bool:
        try:
            last = self._target.head(f"{BOOKS}/beats/{number:08d}")["last_modified"]
        except FileNotFoundError:
            last = self._target.head(self._shard_path(number))["last_modified"]
        probe = f"{BOOKS}/clocks/{self._owner}"
        self._target.put(probe, b"")
        return self._target.head(probe)["last_modified"] - last > self._lease

    def _last_shard(self) -> Shard | None:
        newer = [int(name.removesuffix(".json")) for name in self._names("shards/", after=self._last)]
        if newer:
            self._last = self._read_shard(max(newer))
        return self._last

    def _read_shard(self, number: int) -> Shard:
        document = json.loads(self._read(self._shard_path(number)))
        return Shard(number, tuple(document["keys"]), 0)

    def _shard_path(self, number: int) -> str:
        return f"{BOOKS}/shards/{number:08d}.json"

    def _names(self, start: str, after: Shard | None = None) -> Iterator[str]:
        """Names of entries whose path in the books begins with `start`, without their folder.

        Stores list by whole path segments, so the rest of the prefix is compared here.
        """
        folder, _, rest = start.rpartition("/")
        offset = self._shard_path(after.number) if after else None
        for page in self._target.list(f"{BOOKS}/{folder}", offset=offset):
            for entry in page:
                name = entry["path"].rpartition("/")[2]
                if name.startswith(rest):
                    yield name

    def _read(self, path: str) -> bytes:
        return bytes(self._target.get(path).bytes())
