"""`matteworks edit` and the client's editing methods through every real process."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from matteworks_client import AsyncMatteworksClient, MatteworksClient, MatteworksError, Stroke
from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack

# A stroke that takes away what is background anyway.
_NOTHING = Stroke("erase", [(10, 10)], 2)


def edit(stack: RunningStack, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "matteworks_cli", "edit", *map(str, arguments)]
    command += ["--state-dir", str(stack.state_directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)


def _opaque(directory: Path) -> NDArray[np.bool_]:
    return np.asarray(np.asarray(opened(directory / "edited.png"))[..., 3] == 255)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture.copy()


def test_a_box_a_ratio_and_the_subject_are_cut_out(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    for name, options, size in (
        ("box.png", ("--box", "10,20,110,70"), (100, 50)),
        ("ratio.jpg", ("--ratio", "2:1"), (512, 256)),
    ):
        done = edit(running_stack, "crop", demo_photo, tmp_path / name, *options)
        assert done.returncode == 0, done.stderr
        assert opened(tmp_path / name).size == size
    done = edit(running_stack, "crop", demo_photo, tmp_path / "subject.webp", "--subject", "--margin", "0")
    assert done.returncode == 0, done.stderr
    assert opened(tmp_path / "subject.webp").height < 512, "there is wall above the head"


def test_a_part_is_erased_and_a_side_is_added(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    mask = Image.new("L", (512, 512))
    ImageDraw.Draw(mask).rectangle((10, 10, 60, 60), fill=255)
    mask.save(tmp_path / "mask.png")
    erased = edit(
        running_stack, "erase", demo_photo, tmp_path / "erased.png", "--mask", tmp_path / "mask.png"
    )
    assert erased.returncode == 0, erased.stderr
    assert opened(tmp_path / "erased.png").size == (512, 512)
    larger = edit(running_stack, "expand", demo_photo, tmp_path / "larger.png", "--left", "30")
    assert larger.returncode == 0, larger.stderr
    assert opened(tmp_path / "larger.png").size == (542, 512)


def test_strokes_correct_the_cutout_and_its_matte(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    strokes = tmp_path / "strokes.json"
    strokes.write_text(json.dumps([{"kind": "erase", "points": [[200, 300], [210, 320]], "radius": 25}]))
    done = edit(
        running_stack, "brush", demo_photo, tmp_path / "cutout.png", "--strokes", strokes,
        "--matte-output", tmp_path / "matte.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alpha = np.asarray(opened(tmp_path / "cutout.png"))[..., 3]
    assert alpha[310, 205] == 0
    assert alpha[400, 250] > 250
    matte = np.asarray(opened(tmp_path / "matte.png"))
    assert np.abs(matte.astype(int) - alpha).max() <= 3


async def test_a_picture_is_made_larger(
    running_stack: RunningStack, upscaler_weights: None, small_photo: Path, tmp_path: Path
) -> None:
    done = edit(running_stack, "upscale", small_photo, tmp_path / "larger.webp", "--height", "100")
    assert done.returncode == 0, done.stderr
    assert opened(tmp_path / "larger.webp").size == (160, 100)
    async with AsyncMatteworksClient(running_stack.internal_target) as client:
        larger = await client.upscale(small_photo, scale=2)
        assert (larger.size.width_px, larger.size.height_px, larger.format) == (128, 80, "png")
        assert larger.model == "esrgan-thick-x4"
        with pytest.raises(ValueError, match="one of both"):
            await client.upscale(small_photo)


async def test_a_subject_is_put_back_smaller_and_the_old_one_goes(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    async with AsyncMatteworksClient(running_stack.internal_target) as client:
        cutout = Image.open(io.BytesIO((await client.correct(demo_photo, [_NOTHING])).cutout.image))
        cutout.resize((256, 256)).save(tmp_path / "edited.png")
        put = await client.put_back(demo_photo, tmp_path / "edited.png", at=(256, 256), fill_old_subject=True)
    done = edit(
        running_stack, "put-back", demo_photo, tmp_path / "edited.png", "-o", tmp_path / "put.png",
        "--at", "256,256", "--fill",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with MatteworksClient(running_stack.internal_target) as sync_client:
        left = sync_client.put_back(demo_photo, tmp_path / "edited.png", at=(256, 256))
    filled, kept = (np.asarray(Image.open(io.BytesIO(one.image))) for one in (put, left))
    assert np.array_equal(np.asarray(opened(tmp_path / "put.png")), filled)
    assert np.array_equal(filled[256:, 256:][_opaque(tmp_path)], kept[256:, 256:][_opaque(tmp_path)])
    photo = np.asarray(opened(demo_photo).convert("RGB"))
    assert np.array_equal(kept[:256], photo[:256])
    assert (filled[400, 150:250] != photo[400, 150:250]).any(), "the old one went"


async def test_a_second_stroke_goes_on_from_the_first(running_stack: RunningStack, demo_photo: Path) -> None:
    async with AsyncMatteworksClient(running_stack.internal_target) as client:
        first = await client.correct(demo_photo, [Stroke("erase", [(200, 300)], 25)])
        second = await client.correct(demo_photo, [Stroke("erase", [(300, 420)], 25)], matte=first.matte)
        alpha = np.asarray(Image.open(io.BytesIO(second.cutout.image)))[..., 3]
        assert (alpha[300, 200], alpha[420, 300]) == (0, 0)
        assert second.cutout.stages_s["segment"] < 0.1 * second.cutout.stages_s["encode"], "no network ran"


async def test_what_is_pointed_at_is_cut_out(running_stack: RunningStack, demo_photo: Path) -> None:
    async with AsyncMatteworksClient(running_stack.internal_target) as client:
        chosen = await client.select(demo_photo, [(250, 400)], format="png")
        alpha = np.asarray(Image.open(io.BytesIO(chosen.cutout.image)))[..., 3]
        assert alpha[400, 250] > 250
        assert np.abs(np.asarray(Image.open(io.BytesIO(chosen.matte))).astype(int) - alpha).max() <= 3
        with pytest.raises(MatteworksError, match="512"):
            await client.select(demo_photo, [(9000, 10)])
        with pytest.raises(ValueError, match="point"):
            await client.select(demo_photo)


def test_subjects_are_listed_and_cut_out_from_the_command_line(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path
) -> None:
    listed = edit(running_stack, "select", demo_photo, "--list")
    assert listed.returncode == 0, listed.stderr
    lines = listed.stdout.splitlines()
    assert lines[0].split()[:2] == ["1", "person"]
    done = edit(running_stack, "select", demo_photo, tmp_path / "one.png", "--subject", "1")
    assert done.returncode == 0, done.stderr
    each = edit(running_stack, "select", demo_photo, tmp_path / "part.webp", "--each")
    assert each.returncode == 0, each.stderr
    assert each.stdout.split() == [str(tmp_path / f"part-{n}.webp") for n in range(1, len(lines) + 1)]
    pointed = edit(
        running_stack, "select", demo_photo, tmp_path / "pointed.png", "--inside", "250,400",
        "--matte-output", tmp_path / "matte.png",
    )  # fmt: skip
    assert pointed.returncode == 0, pointed.stderr
    alphas = [np.asarray(opened(tmp_path / name))[..., -1] for name in ("one.png", "part-1.webp")]
    assert (alphas[0] == alphas[1]).mean() > 0.99
    assert np.asarray(opened(tmp_path / "matte.png"))[400, 250] > 250


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("crop", "PHOTO", "OUT.png"), "one of box, aspect_ratio and margin"),
        (("crop", "PHOTO", "OUT.png", "--box", "1,2,3"), "four values"),
        (("crop", "PHOTO", "OUT.psd", "--ratio", "1:1"), "ending"),
        (("crop", "PHOTO", "OUT.png", "--ratio", "square"), "W:H"),
        (("expand", "PHOTO", "OUT.png"), "borders_px or aspect_ratio"),
        (("brush", "PHOTO", "OUT.png"), "stroke"),
        (("upscale", "PHOTO", "OUT.png", "--scale", "16"), "2 or 4"),
        (("upscale", "PHOTO", "OUT.png", "--scale", "2", "--width", "900"), "one of both"),
        (("upscale", "PHOTO", "OUT.png", "--width", "90"), "512 × 512"),
        (("put-back", "PHOTO", "PHOTO", "-o", "OUT.png"), "transparency around it"),
        (("put-back", "PHOTO", "PHOTO", "-o", "OUT.png", "--at", "5"), "X,Y"),
        (("put-back", "PHOTO", "PHOTO", "-o", "OUT.png", "--at", "5,0"), "0 to 0"),
        (("put-back", "PHOTO", "PHOTO", "-o", "OUT.png", "--matte", "PHOTO"), "fill_old_subject"),
        (("select", "PHOTO", "OUT.png"), "at least one point"),
        (("select", "PHOTO"), "--list"),
        (("select", "PHOTO", "OUT.png", "--inside", "here"), "X,Y"),
        (("select", "PHOTO", "OUT.png", "--subject", "19"), "There is no subject 19"),
        (("select", "PHOTO", "OUT.png", "--each", "--inside", "1,1"), "--each"),
    ],
)
def test_what_cannot_be_meant_is_told(
    running_stack: RunningStack, demo_photo: Path, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    places = {"PHOTO": str(demo_photo)}
    done = edit(
        running_stack,
        *(places.get(one, str(tmp_path / one) if one.startswith("OUT") else one) for one in arguments),
    )
    assert done.returncode != 0
    assert told in done.stderr
