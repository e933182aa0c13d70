"""The command against a running stack, as a person types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from matteworks_client import AsyncMatteworksClient, MatteworksClient, MatteworksError
from matteworks_deploy.local.development import ACCOUNT_ID
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack


def matteworks(stack: RunningStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "matteworks_cli", *arguments, "--state-dir", str(stack.state_directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)


def opened(path: Path) -> tuple[str, tuple[int, int]]:
    with Image.open(path) as image:
        image.load()
        return image.mode, image.size


def test_remove_writes_one_result_a_photo(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    with Image.open(demo_photo) as photo:
        photo.resize((300, 300)).save(other)

    result = matteworks(running_stack, "remove", str(demo_photo), str(other), "-o", str(tmp_path / "out"))

    assert result.returncode == 0, result.stderr
    assert opened(tmp_path / "out" / "astronaut.png") == ("RGBA", (512, 512))
    assert opened(tmp_path / "out" / "other.png") == ("RGBA", (300, 300))


def test_remove_goes_on_after_a_photo_that_fails_and_says_so(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")

    result = matteworks(running_stack, "remove", str(broken), str(demo_photo), "-o", str(tmp_path / "out"))

    assert result.returncode == 1
    assert "invalid_file_type" in result.stderr
    assert (tmp_path / "out" / "astronaut.png").is_file()


def test_a_created_key_works_until_it_is_revoked(running_stack: RunningStack, tmp_path: Path) -> None:
    key = matteworks(running_stack, "keys", "create", "--name", "a test").stdout.strip()
    key_id = key.split("_")[2]

    listed = matteworks(running_stack, "keys", "list").stdout
    with MatteworksClient(running_stack.internal_target) as client:
        owner = client.account_of_key(key).account_id
    revoked = matteworks(running_stack, "keys", "revoke", key_id)

    assert owner == ACCOUNT_ID
    assert key_id in listed
    assert key not in listed
    assert revoked.returncode == 0, revoked.stderr


def test_the_first_key_of_a_new_account_makes_the_account(running_stack: RunningStack) -> None:
    created = [
        matteworks(running_stack, "keys", "create", "--account", "acme", "--plan", "team").stdout.strip()
        for _ in range(2)
    ]
    with MatteworksClient(running_stack.internal_target) as client:
        owners = [client.account_of_key(key) for key in created]

    assert [(owner.account_id, owner.plan) for owner in owners] == [("acme", "team")] * 2


def test_a_rotated_key_has_a_successor(running_stack: RunningStack) -> None:
    key_id = matteworks(running_stack, "keys", "create").stdout.strip().split("_")[2]

    successor = matteworks(running_stack, "keys", "rotate", key_id, "--overlap-hours", "1").stdout.strip()

    assert successor.startswith("mw_live_")
    assert successor.split("_")[2] != key_id


def test_administration_with_a_wrong_token_is_refused(running_stack: RunningStack) -> None:
    result = matteworks(running_stack, "keys", "list", "--admin-token", "wrong")

    assert result.returncode == 1
    assert "PERMISSION_DENIED" in result.stderr


def test_a_second_stack_in_the_same_state_directory_is_refused(running_stack: RunningStack) -> None:
    result = matteworks(running_stack, "up", "--port", "0")

    assert result.returncode == 2
    assert "already running" in result.stderr


def test_the_client_cuts_out_and_composes(running_stack: RunningStack, demo_photo: Path) -> None:
    with MatteworksClient(running_stack.internal_target) as client:
        cutout = client.remove_background(demo_photo, format="webp", crop=True, bg_color=(255, 255, 255))
        matte = client.segment(demo_photo)
        composed = client.compose(demo_photo, matte, format="png")
        facts = client.inspect(demo_photo)
        models = client.list_models()

    assert (cutout.format, cutout.model) == ("webp", "u2netp")
    assert cutout.size.height_px < facts.size.height_px, "cropped"
    assert (composed.format, composed.size) == ("png", facts.size)
    mattes = [model for model in models if model.task == "segmentation"]
    assert [model.name for model in mattes if model.is_loaded] == ["u2netp"]


def test_the_client_raises_the_services_own_error(running_stack: RunningStack) -> None:
    with (
        MatteworksClient(running_stack.internal_target) as client,
        pytest.raises(MatteworksError) as caught,
    ):
        client.remove_background(b"not a picture")

    assert caught.value.reason_name == "INVALID_FILE_TYPE"


async def test_the_asyncio_client_does_the_same(running_stack: RunningStack, demo_photo: Path) -> None:
    async with AsyncMatteworksClient(running_stack.internal_target) as client:
        cutout = await client.remove_background(demo_photo, format="png")
        account = await client.account(ACCOUNT_ID)

    assert (cutout.format, account.plan) == ("png", "development")


def test_remove_cuts_a_folder_and_a_second_run_only_what_is_missing(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos" / "below"
    photos.mkdir(parents=True)
    with Image.open(demo_photo) as photo:
        photo.resize((200, 200)).save(photos / "a.jpg")
        photo.resize((220, 220)).save(photos.parent / "b.png")
    out = tmp_path / "out"

    first = matteworks(running_stack, "remove", "-r", str(photos.parent), "-o", str(out))
    (out / "b.png").unlink()
    second = matteworks(running_stack, "remove", "-r", str(photos.parent), "-o", str(out))

    assert first.returncode == 0, first.stderr
    assert opened(out / "below" / "a.png") == ("RGBA", (200, 200))
    assert opened(out / "b.png") == ("RGBA", (220, 220))
    assert second.returncode == 0, second.stderr
    assert "1 done before" in second.stderr


def test_bulk_cuts_a_folder_into_another_and_tells_what_failed(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    with Image.open(demo_photo) as photo:
        photo.resize((200, 200)).save(photos / "a.jpg")
    (photos / "broken.png").write_bytes(b"not a picture")
    out = tmp_path / "out"

    first = matteworks(running_stack, "bulk", str(photos), str(out))
    second = matteworks(running_stack, "bulk", str(photos), str(out))

    assert first.returncode == 1
    assert opened(out / "a.jpg.png") == ("RGBA", (200, 200))
    assert "invalid_file_type" in (out / "_matteworks" / "failures.jsonl").read_text()
    assert "0 made, 0 found done" in second.stderr
