"""Options that only the whole stack can prove."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from PIL import Image, ImageDraw, ImageFilter

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks_client import AsyncMatteworksClient, MatteworksClient, MatteworksError
from matteworks_client.results import Size
from tests.conformance.pictures import picture
from tests.support.stack import FAST_MODEL, RunningStack

pytestmark = pytest.mark.stack


def test_a_pinned_model_gives_the_same_bytes_also_beside_other_pictures(running_stack: RunningStack) -> None:
    wanted = picture("ball 640x480", "pinned")
    others = [picture(f"ball {640 - 32 * number}x480", f"beside {number}") for number in range(3)]

    def cut(content: bytes) -> httpx.Response:
        return httpx.post(
            f"{running_stack.base_url}/v1.0/removebg",
            headers={"X-Api-Key": running_stack.key},
            files={"image_file": content},
            data={"size": "full", "model": FAST_MODEL},
            timeout=60,
        )

    alone = cut(wanted)
    with ThreadPoolExecutor(4) as pool:
        beside = list(pool.map(cut, [wanted, *others]))

    assert alone.status_code == 200, alone.text
    assert all(answer.headers["x-model"] == FAST_MODEL for answer in (alone, *beside))
    assert beside[0].content == alone.content
    assert alone.headers["x-credits-charged"] == "1"


def test_a_removal_takes_the_old_shadow_away_or_keeps_it(running_stack: RunningStack) -> None:
    ground, darkness = 230, 0.4
    photo = Image.new("L", (640, 480), 0)
    ImageDraw.Draw(photo).ellipse((230, 330, 470, 400), fill=round(255 * darkness))
    shadow = photo.filter(ImageFilter.GaussianBlur(8))
    floor = Image.new("RGB", (640, 480), (ground,) * 3)
    photo = Image.composite(Image.new("RGB", (640, 480)), floor, shadow)
    ImageDraw.Draw(photo).ellipse((220, 120, 420, 370), fill=(190, 40, 30))
    file = io.BytesIO()
    photo.save(file, "PNG")

    def beside(**fields: str) -> tuple[int, ...]:
        """A place in the shadow, right of the ball."""
        answer = httpx.post(
            f"{running_stack.base_url}/v1.0/removebg",
            headers={"X-Api-Key": running_stack.key},
            files={"image_file": file.getvalue()},
            data={"size": "full", "format": "png", **fields},
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        with Image.open(io.BytesIO(answer.content)) as result:
            return tuple(result.convert("RGBA").getpixel((430, 372)))  # type: ignore[arg-type]

    assert beside()[3] < 10
    *colour, alpha = beside(shadow_type="original")
    assert colour == [0, 0, 0]
    assert alpha == pytest.approx(shadow.getpixel((430, 372)), abs=8)
    assert beside(shadow_type="original", bg_color="e6e6e6")[0] == pytest.approx(
        ground * (1 - alpha / 255), abs=3
    )


def test_the_command_writes_every_result_of_one_matte(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "matteworks_cli", "remove", str(demo_photo), "-o", str(tmp_path),
        "--also", "thumb:format=jpg,max_side=128,bg_color=white", "--also", "mask:channels=alpha",
        "--state-dir", str(running_stack.state_directory),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)

    assert result.returncode == 0, result.stderr
    found = {}
    for path in tmp_path.iterdir():
        with Image.open(path) as image:
            found[path.name] = (image.mode, image.size)
    assert found == {
        "astronaut.png": ("RGBA", (512, 512)),
        "astronaut.thumb.jpg": ("RGB", (128, 128)),
        "astronaut.mask.png": ("L", (512, 512)),
    }


def test_the_command_opens_and_fills_what_a_ring_encloses(
    running_stack: RunningStack, tmp_path: Path
) -> None:
    drawn = Image.new("RGB", (400, 400), (205, 200, 190))
    ImageDraw.Draw(drawn).ellipse((60, 60, 340, 340), outline=(190, 30, 40), width=60)
    photo, results = tmp_path / "ring.png", tmp_path / "out"
    drawn.save(photo)
    command = [
        sys.executable, "-m", "matteworks_cli", "remove", str(photo), "-o", str(results),
        "--holes", "clear", "--also", "filled:holes=keep", "--state-dir", str(running_stack.state_directory),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)

    assert result.returncode == 0, result.stderr
    alphas = {}
    for path in results.iterdir():
        with Image.open(path) as image:
            alphas[path.name] = image.getchannel("A")
    opened, filled = alphas["ring.png"], alphas["ring.filled.png"]
    middle, band, corner = (200, 200), (90, 200), (5, 5)
    assert [opened.getpixel(place) for place in (middle, band, corner)] == [0, 255, 0]
    assert [filled.getpixel(place) for place in (middle, band, corner)] == [255, 255, 0]


async def test_both_clients_get_several_results_of_one_matte(
    running_stack: RunningStack, demo_photo: Path
) -> None:
    with MatteworksClient(running_stack.internal_target) as client:
        first, second = client.cut_outs(demo_photo, [{"format": "webp"}, {"channels": "alpha"}])
    async with AsyncMatteworksClient(running_stack.internal_target) as client:
        (again,) = await client.cut_outs(demo_photo, [{"format": "webp"}])

    assert (first.format, second.format) == ("webp", "png")
    assert again.image == first.image


def test_a_dry_run_of_the_command_tells_the_price_and_writes_nothing(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "matteworks_cli", "remove", str(demo_photo), "-o", str(tmp_path / "out"),
        "--size", "full", "--dry-run", "--state-dir", str(running_stack.state_directory),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("1 credits for 1 photos; the account has ")
    assert "512 × 512" in result.stderr
    assert not (tmp_path / "out").exists()


async def test_both_clients_estimate_without_a_charge(running_stack: RunningStack, demo_photo: Path) -> None:
    with MatteworksClient(running_stack.internal_target) as client:
        before = client.account_of_key(running_stack.key)
        seen = client.estimate(demo_photo, key=running_stack.key, max_pixels=10_000)
        with pytest.raises(MatteworksError) as refused:
            client.estimate(demo_photo, key=running_stack.key, model="nobodys")
        after = client.account_of_key(running_stack.key)
    async with AsyncMatteworksClient(running_stack.internal_target) as client:
        cropped = await client.estimate(demo_photo, key=running_stack.key, crop=True)

    assert (seen.size, seen.credits_milli, cropped.size) == (Size(100, 100), 1000, None)
    assert refused.value.reason_name == "MODEL_NOT_FOUND"
    assert (after.spent_credits_milli, after.held_credits_milli) == (
        before.spent_credits_milli,
        before.held_credits_milli,
    )


def tool(stack: RunningStack, name: str, key: str, photo: Path, **fields: str) -> httpx.Response:
    return httpx.post(
        f"{stack.base_url}/api/tools/{name}",
        headers={"Authorization": f"Bearer {key}"},
        data=fields,
        files={"image": photo.read_bytes()},
        timeout=90,
    )


def another_accounts_key(stack: RunningStack) -> str:
    metadata = (("authorization", f"Bearer {stack.admin_token}"),)
    with grpc.insecure_channel(stack.internal_target) as channel:
        admin = auth_pb2_grpc.KeyAdminServiceStub(channel)
        account = auth_pb2.CreateAccountRequest(account_id="neighbour", plan="starter")
        admin.CreateAccount(account, metadata=metadata, timeout=10)
        granted = auth_pb2.GrantCreditsRequest(
            request_id="neighbour", account_id="neighbour", balance=auth_pb2.BALANCE_PAYG, credits_milli=9000
        )
        admin.GrantCredits(granted, metadata=metadata, timeout=10)
        made = admin.CreateKey(
            auth_pb2.CreateKeyRequest(account_id="neighbour"), metadata=metadata, timeout=10
        )
    return made.api_key


def test_a_brush_takes_the_id_or_url_of_the_accounts_own_result(
    running_stack: RunningStack, demo_photo: Path
) -> None:
    url = tool(running_stack, "bg-removal", running_stack.key, demo_photo).json()["data"]["imageUrl"]
    strokes = json.dumps([{"points": [[200, 300], [220, 320]], "radius": 30}])

    erased = tool(running_stack, "brush", running_stack.key, demo_photo, strokes=strokes, matte=url)
    assert erased.status_code == 200, erased.text
    result_id = urlsplit(erased.json()["data"]["imageUrl"]).path.rpartition("/")[2]
    restored = tool(
        running_stack,
        "brush",
        running_stack.key,
        demo_photo,
        strokes=strokes,
        matte=result_id,
        mode="restore",
    )

    alphas = []
    for answer in (erased, restored):
        picture = httpx.get(answer.json()["data"]["imageUrl"], timeout=30).content
        with Image.open(io.BytesIO(picture)) as image:
            alphas.append(image.getpixel((205, 305))[3])
    assert alphas == [0, 255]

    neighbour = another_accounts_key(running_stack)
    stolen = tool(running_stack, "brush", neighbour, demo_photo, strokes=strokes, matte=result_id)
    unknown = tool(running_stack, "brush", neighbour, demo_photo, strokes=strokes, matte="nothing-of-that-id")
    assert (stolen.status_code, unknown.status_code) == (404, 404)
    assert stolen.json()["error"]["code"] == unknown.json()["error"]["code"]
    assert stolen.headers["x-credits-charged"] == "0"
    wrong = tool(running_stack, "brush", neighbour, demo_photo, strokes=strokes, matte="http://x/y")
    assert wrong.status_code == 400
