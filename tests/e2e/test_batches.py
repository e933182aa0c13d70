"""Batches through every real process: by the client library in both forms, and by the command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from matteworks_client import AsyncMatteworksClient, MatteworksClient, MatteworksError
from matteworks_client.jobs import BatchPicture
from tests.support.edge_harness import picture
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack


def matteworks(stack: RunningStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "matteworks_cli", *arguments, "--state-dir", str(stack.state_directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one of them in a folder below, and a text."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.jpg", "below/c.jpg")):
        (folder / name).write_bytes(picture(200 + number, 150))
    (folder / "notes.md").write_text("no picture")
    return folder


@pytest.fixture
def pictures(folder: Path) -> list[BatchPicture]:
    return [picture(120), folder / "a.jpg", (picture(130), {"format": "webp"}), b"no picture at all"]


def test_a_batch_is_submitted_watched_downloaded_and_deleted(
    running_stack: RunningStack, pictures: list[BatchPicture], tmp_path: Path
) -> None:
    key = running_stack.key
    with MatteworksClient(running_stack.internal_target) as client:
        batch = client.submit_batch(pictures, key=key, format="png")
        assert batch.item_count == 4
        *_, last = client.watch(batch.batch_id, key=key)
        assert (last.is_ended, last.succeeded_count, last.failed_count) == (True, 3, 1)
        items = list(client.items(batch.batch_id, key=key))
        assert [item.state for item in items] == ["succeeded"] * 3 + ["failed"]
        assert [item.charged_credits_milli for item in items] == [1000, 1000, 1000, 0]
        assert items[3].error_reason == "INVALID_FILE_TYPE"
        results = [item.result for item in items if item.result]
        assert [result.content_type for result in results] == ["image/png", "image/png", "image/webp"]
        path = client.download(items[1].item_id, tmp_path / "out.png", key=key)
        with Image.open(path) as cutout:
            assert (cutout.mode, cutout.size) == ("RGBA", (200, 150))
        assert path.stat().st_size == results[1].size_bytes
        client.delete_result(items[1].item_id, key=key)
        with pytest.raises(MatteworksError) as gone:
            client.download(items[1].item_id, tmp_path / "again.png", key=key)
        assert gone.value.reason_name == "RESULT_NOT_FOUND"
        assert not list(tmp_path.glob("*again*"))
        assert batch.batch_id in [one.batch_id for one in client.batches(key=key)]


async def test_the_same_is_awaited(
    running_stack: RunningStack, pictures: list[BatchPicture], tmp_path: Path
) -> None:
    key = running_stack.key
    async with AsyncMatteworksClient(running_stack.internal_target) as client:
        batch = await client.submit_batch(pictures, key=key)
        seen = [state async for state in client.watch(batch.batch_id, key=key)]
        assert (seen[-1].succeeded_count, seen[-1].failed_count) == (3, 1)
        items = [item async for item in client.items(batch.batch_id, key=key)]
        path = await client.download(items[0].item_id, tmp_path / "out.png", key=key)
        assert path.stat().st_size == (items[0].result or pytest.fail("no result")).size_bytes
        await client.delete_result(items[0].item_id, key=key)
        assert (await client.batch(batch.batch_id, key=key)).is_ended
        with pytest.raises(FileNotFoundError):
            await client.submit_batch([tmp_path / "missing.jpg"], key=key)
        with pytest.raises(MatteworksError) as none:
            await client.submit_batch([], key=key)
        assert none.value.reason_name == "INVALID_BATCH_SIZE"


def test_what_cannot_be_meant_is_told_as_itself(running_stack: RunningStack, tmp_path: Path) -> None:
    key = running_stack.key
    with MatteworksClient(running_stack.internal_target) as client:
        with pytest.raises(FileNotFoundError):
            client.submit_batch([tmp_path / "missing.jpg"], key=key)
        with pytest.raises(ValueError, match="no http"):
            client.submit_batch(["photo.jpg"], key=key)
        with pytest.raises(MatteworksError) as none:
            client.submit_batch([], key=key)
        assert none.value.reason_name == "INVALID_BATCH_SIZE"
        with pytest.raises(MatteworksError) as wrong:
            client.submit_batch([picture()], key="nonsense")
        assert wrong.value.reason_name == "KEY_INVALID"
        with pytest.raises(MatteworksError) as unknown:
            client.batch("batch_" + "0" * 32, key=key)
        assert unknown.value.reason_name == "BATCH_NOT_FOUND"


def test_the_command_hands_a_folder_in_and_writes_the_results(
    running_stack: RunningStack, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = matteworks(running_stack, "batch", "submit", str(folder), "-r", "-o", str(out), "--format", "webp")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["00000-a.webp", "00001-b.webp", "00002-c.webp"]
    assert "3 of 3 ended, 3 done" in done.stderr

    batch_id = done.stdout.strip()
    watched = matteworks(running_stack, "batch", "watch", batch_id)
    assert (watched.returncode, "3 done" in watched.stderr) == (0, True)
    again = matteworks(running_stack, "batch", "download", batch_id, str(tmp_path / "again"))
    assert again.returncode == 0
    assert len(list((tmp_path / "again").iterdir())) == 3
    assert batch_id in matteworks(running_stack, "batch", "list").stdout
    assert "3 of 3 ended" in matteworks(running_stack, "batch", "cancel", batch_id).stdout


def test_the_command_takes_the_options_of_a_removal(
    running_stack: RunningStack, folder: Path, tmp_path: Path
) -> None:
    widths = []
    for name, options in (("plain", []), ("shaded", ["--shadow", "drop"])):
        arguments = [str(folder / "a.jpg"), "-o", str(tmp_path / name), "--crop", *options]
        done = matteworks(running_stack, "batch", "submit", *arguments)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / name / "00000-a.png") as result:
            widths.append(result.width)
    # A crop makes room for the shadow.
    assert widths[1] > widths[0]
    for option, known in (("--holes", "keep, clear"), ("--shadow", "original")):
        wrong = matteworks(running_stack, "batch", "submit", str(folder / "a.jpg"), option, "fill")
        assert (wrong.returncode, option in wrong.stderr, known in wrong.stderr) == (2, True, True)


def test_the_command_names_what_failed(running_stack: RunningStack, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture at all")
    failed = matteworks(running_stack, "batch", "submit", str(broken), "--watch")
    assert failed.returncode == 1
    assert "picture 0: INVALID_FILE_TYPE" in failed.stderr
    missing = matteworks(running_stack, "batch", "submit", str(tmp_path / "nothing.jpg"))
    assert (missing.returncode, "no such file" in missing.stderr) == (2, True)
    unknown = matteworks(running_stack, "batch", "watch", "batch_" + "0" * 32)
    assert (unknown.returncode, "BATCH_NOT_FOUND" in unknown.stderr) == (1, True)
