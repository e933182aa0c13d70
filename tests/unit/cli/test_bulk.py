"""A bulk run, machine by machine: who does what, and that nothing is done twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import LocalStore, MemoryStore, ObjectStore

from matteworks_cli.bulk.report import write_report
from matteworks_cli.bulk.shards import Outcome, ShardBooks
from matteworks_cli.bulk.stores import check_apart, open_store, pictures_after
from matteworks_cli.bulk.worker import BulkWorker
from matteworks_cli.rest_client import Refused, RestCutout
from matteworks_deploy.failures import CommandFailed


class CountingCutter:
    """Answers with the content, and remembers who asked for what."""

    def __init__(self, fails: Callable[[str], Refused | None] = lambda _: None) -> None:
        self.names: list[str] = []
        self.idempotency_keys: list[str] = []
        self._fails = fails
        self._turn = threading.Lock()

    def cut_out(
        self, name: str, content: bytes, parameters: Mapping[str, str], *, idempotency_key: str = ""
    ) -> RestCutout:
        with self._turn:
            self.names.append(name)
            self.idempotency_keys.append(idempotency_key)
        if refused := self._fails(name):
            raise refused
        return RestCutout(b"cut " + content, "png", 200, {})


def filled(count: int) -> MemoryStore:
    store = MemoryStore()
    for number in range(count):
        store.put(f"{number:03d}.jpg", f"photo {number}".encode())
    return store


def worker(
    source: ObjectStore,
    target: ObjectStore,
    cutter: CountingCutter,
    owner: str = "one",
    lease_s: float = 60,
    told: list[str] | None = None,
) -> BulkWorker:
    return BulkWorker(
        source=source,
        target=target,
        books=ShardBooks(source, target, owner, shard_size=4, lease_s=lease_s),
        cutter=cutter,
        parameters={"size": "auto"},
        suffix="png",
        jobs=3,
        lease_s=lease_s,
        patience_s=5,
        poll_s=0,
        max_picture_bytes=1000,
        tell=(told if told is not None else []).append,
        sleep=lambda _: None,
    )


def test_every_picture_is_done_once_and_lies_under_its_own_name() -> None:
    source, target, cutter = filled(10), MemoryStore(), CountingCutter()

    worker(source, target, cutter).run()

    assert sorted(cutter.names) == [f"{number:03d}.jpg" for number in range(10)]
    assert bytes(target.get("007.jpg.png").bytes()) == b"cut photo 7"


def test_a_second_run_sends_nothing() -> None:
    source, target = filled(10), MemoryStore()
    worker(source, target, CountingCutter()).run()
    again = CountingCutter()

    worker(source, target, again, "two").run()

    assert again.names == []


def test_pictures_that_came_since_are_done_by_a_second_run() -> None:
    source, target = filled(5), MemoryStore()
    worker(source, target, CountingCutter()).run()
    source.put("900.jpg", b"late")
    again = CountingCutter()

    worker(source, target, again, "two").run()

    assert again.names == ["900.jpg"]


def test_machines_that_work_at_once_share_the_pictures_out() -> None:
    source, target, cutter = filled(60), MemoryStore(), CountingCutter()
    machines = [worker(source, target, cutter, name) for name in ("one", "two", "three")]
    threads = [threading.Thread(target=machine.run) for machine in machines]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(cutter.names) == [f"{number:03d}.jpg" for number in range(60)]
    assert sum(machine.tally.made for machine in machines) == 60


def test_the_shard_of_a_silent_machine_is_taken_over_and_what_it_did_is_kept(tmp_path: Path) -> None:
    source, target = filled(4), MemoryStore()
    lost = ShardBooks(source, target, "lost", shard_size=4, lease_s=60)
    shard = lost.next_new()
    assert shard is not None
    target.put("000.jpg.png", b"done before the machine died")
    cutter = CountingCutter()

    # The lease is over at once.
    worker(source, target, cutter, "heir", lease_s=-1).run()

    assert sorted(cutter.names) == ["001.jpg", "002.jpg", "003.jpg"]
    assert lost.beat(shard) is False


def test_the_shard_of_a_machine_that_beats_is_left_to_it() -> None:
    source, target = filled(4), MemoryStore()
    books = ShardBooks(source, target, "alive", shard_size=4, lease_s=60)
    shard = books.next_new()
    assert shard is not None

    other = ShardBooks(source, target, "other", shard_size=4, lease_s=60)

    assert books.beat(shard)
    assert other.next_new() is None
    assert other.next_abandoned() is None
    assert not other.is_finished()


def test_two_machines_never_take_over_the_same_shard() -> None:
    source, target = filled(4), MemoryStore()
    ShardBooks(source, target, "lost", shard_size=4, lease_s=60).next_new()
    first = ShardBooks(source, target, "first", shard_size=4, lease_s=-1)
    second = ShardBooks(source, target, "second", shard_size=4, lease_s=60)

    assert first.next_abandoned() is not None
    assert second.next_abandoned() is None


def test_a_bad_picture_is_reported_and_the_others_are_done() -> None:
    source, target, told = filled(10), MemoryStore(), []
    cutter = CountingCutter(lambda name: Refused("400: not a picture") if name == "003.jpg" else None)
    machine = worker(source, target, cutter, told=told)

    machine.run()
    report = write_report(machine.books, target)

    failures = bytes(target.get("_matteworks/failures.jsonl").bytes())
    assert (report.pictures, report.done, report.failed) == (10, 9, 1)
    assert json.loads(failures) == {"key": "003.jpg", "error": "400: not a picture"}
    assert told == ["003.jpg: 400: not a picture"]


def test_failed_pictures_are_tried_again_when_asked_and_only_they() -> None:
    source, target = filled(10), MemoryStore()
    failing = CountingCutter(lambda name: Refused("400") if name in {"003.jpg", "008.jpg"} else None)
    worker(source, target, failing).run()
    mended = CountingCutter()
    machine = worker(source, target, mended, "two")

    machine.run(is_retrying_failures=True)

    assert sorted(mended.names) == ["003.jpg", "008.jpg"]
    assert write_report(machine.books, target).failed == 0


def test_a_picture_that_is_too_large_is_not_sent() -> None:
    source, target, cutter = MemoryStore(), MemoryStore(), CountingCutter()
    source.put("huge.jpg", bytes(2000))

    worker(source, target, cutter).run()

    assert cutter.names == []


def test_a_server_that_comes_back_loses_nothing_and_every_attempt_has_the_same_key() -> None:
    answers = iter([Refused("503", is_about_photo=False)] * 2)
    cutter = CountingCutter(lambda _: next(answers, None))
    target = MemoryStore()

    worker(filled(1), target, cutter).run()

    assert cutter.names == ["000.jpg"] * 3
    assert len(set(cutter.idempotency_keys)) == 1
    assert bytes(target.get("000.jpg.png").bytes()) == b"cut photo 0"


def test_a_server_that_stays_away_ends_the_run_and_leaves_the_shard_to_the_next() -> None:
    source, target = filled(6), MemoryStore()
    away = CountingCutter(lambda _: Refused("402: spent", is_about_photo=False))
    machine = worker(source, target, away)
    clock = iter(range(0, 10_000, 3))

    with pytest.raises(CommandFailed, match=r"402: spent. Run the same command again"):
        replace(machine, now=clock.__next__).run()
    cutter = CountingCutter()
    worker(source, target, cutter, "next", lease_s=-1).run()

    assert len(cutter.names) == 6


def test_a_machine_that_asks_for_other_options_is_refused() -> None:
    source, target = filled(1), MemoryStore()
    books = ShardBooks(source, target, "one", shard_size=4, lease_s=60)
    books.agree({"size": "auto", "source": "a"})
    books.agree({"size": "auto", "source": "a"})

    with pytest.raises(CommandFailed, match=r"other options \(size\)"):
        books.agree({"size": "full", "source": "a"})


NAMES = st.lists(
    st.lists(st.sampled_from(["a", "b", "a-", "a.b", "B", "ä"]), min_size=1, max_size=3).map("/".join),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(NAMES)
def test_a_folder_is_listed_in_one_order_from_any_key_on(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("photos")
    for name in names:
        path = folder / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    store = LocalStore(folder)

    everything = list(pictures_after(store, ""))

    assert sorted(everything) == sorted({f"{name}.jpg" for name in names})
    for index, key in enumerate(everything):
        assert list(pictures_after(store, key)) == everything[index + 1 :]


def test_books_and_other_files_are_no_pictures() -> None:
    store = MemoryStore()
    for key in ("_matteworks/x.png", "a.JPG", "notes.txt", "b/c.webp"):
        store.put(key, b"x")

    assert list(pictures_after(store, "")) == ["a.JPG", "b/c.webp"]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("photos", "photos/out"),
        ("s3://bucket", "s3://bucket/out"),
        ("s3://bucket/a/", "s3://bucket/a"),
        (".", "x"),
    ],
)
def test_a_target_inside_the_source_is_refused(source: str, target: str) -> None:
    with pytest.raises(CommandFailed, match="lie in one another"):
        check_apart(source, target)


def test_neighbours_of_like_names_are_apart() -> None:
    check_apart("s3://bucket/photos", "s3://bucket/photos-cut")


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="is no folder"):
        open_store(str(tmp_path / "nothing"), is_made=False)


def test_ages_are_told_by_the_stores_own_clock() -> None:
    """A machine whose clock is an hour off must not take over living shards, nor have its own taken."""
    source, target = filled(1), MemoryStore()
    books = ShardBooks(source, target, "one", shard_size=4, lease_s=60)
    shard = books.next_new()
    assert shard is not None
    age = datetime.now(UTC) - target.head(f"_matteworks/beats/{shard.name}")["last_modified"]

    assert age < timedelta(seconds=30)
    assert ShardBooks(source, target, "two", shard_size=4, lease_s=30).next_abandoned() is None


def test_a_manifest_tells_what_became_of_each_picture() -> None:
    source, target = filled(2), MemoryStore()
    machine = worker(source, target, CountingCutter())

    machine.run()

    assert machine.books.outcomes(0) == [
        Outcome("000.jpg", "000.jpg.png"),
        Outcome("001.jpg", "001.jpg.png"),
    ]
