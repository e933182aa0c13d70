"""Files of every type come in, and go out as asked, with what they should tell and no more."""

from __future__ import annotations

import io
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks.compositor.v1 import compositor_pb2_grpc
from matteworks_common.errors import from_rpc_error
from matteworks_compositor.app import build
from tests.component.compositor.conftest import Service, settings_for
from tests.component.compositor.pictures import decoded, encoded, gradient, quadrants
from tests.support.fake_inference import running_inference
from tests.support.harness import channel_to

HEIC = Path(__file__).parents[2] / "unit" / "imaging" / "files" / "turned.heic"
INPUTS = {"AVIF": {"quality": 95}, "TIFF": {}, "BMP": {}, "GIF": {}}
TARGETS = {
    "AVIF": pb.OUTPUT_FORMAT_AVIF,
    "TIFF": pb.OUTPUT_FORMAT_TIFF,
    "BMP": pb.OUTPUT_FORMAT_BMP,
    "GIF": pb.OUTPUT_FORMAT_GIF,
    "WEBP": pb.OUTPUT_FORMAT_WEBP_LOSSLESS,
}
FLAT = {"BMP", "GIF"}
LOSSY = {pb.OUTPUT_FORMAT_JPEG: "JPEG", pb.OUTPUT_FORMAT_WEBP: "WEBP", pb.OUTPUT_FORMAT_AVIF: "AVIF"}


@pytest.mark.parametrize("source", INPUTS)
async def test_every_input_format_is_cut_out(service: Service, source: str) -> None:
    result = await service.pixels(encoded(quadrants(300, 200), source, **INPUTS[source]))
    assert result.shape == (200, 300, 4)
    assert np.abs(result[60:90, 90:140, :3].astype(int) - quadrants(300, 200)[60:90, 90:140]).mean() < 4


async def test_a_phones_heic_is_cut_out_upright(service: Service) -> None:
    rendering = (await service.remove(HEIC.read_bytes())).rendering
    assert (rendering.source_size.width_px, rendering.source_size.height_px) == (48, 64)
    facts = await service.stub.Inspect(pb.InspectRequest(image=HEIC.read_bytes()))
    assert facts.format == pb.INPUT_FORMAT_HEIC
    assert (facts.size.width_px, facts.size.height_px) == (48, 64)


@pytest.mark.parametrize("target", TARGETS)
async def test_every_output_format_shows_the_subject(service: Service, target: str) -> None:
    picture = gradient(300, 200)
    rendering = (await service.remove(encoded(picture), format=TARGETS[target])).rendering
    assert rendering.format == TARGETS[target]
    with Image.open(io.BytesIO(rendering.image)) as opened:
        assert opened.format == target
        assert "icc_profile" not in opened.info
        result = np.array(opened.convert("RGB" if target in FLAT else "RGBA"))
    middle = (slice(80, 120), slice(120, 180))
    assert np.abs(result[middle][..., :3].astype(int) - picture[middle]).mean() < 4
    corner = result[2, 2].tolist()
    assert corner == [255, 255, 255] if target in FLAT else corner[3] == 0


@pytest.mark.parametrize("target", [*TARGETS.values(), pb.OUTPUT_FORMAT_WEBP, pb.OUTPUT_FORMAT_JPEG])
async def test_the_bare_matte_comes_in_every_format(
    service: Service, target: pb.OutputFormat.ValueType
) -> None:
    answer = await service.remove(encoded(gradient(300, 200)), format=target, channels=pb.CHANNELS_ALPHA)
    with Image.open(io.BytesIO(answer.rendering.image)) as opened:
        grey = np.array(opened.convert("L")).astype(int)
    assert grey[2, 2] <= 8
    assert grey[100, 150] >= 247


@pytest.mark.parametrize("target", LOSSY)
async def test_a_higher_quality_is_nearer_to_the_pixels_and_larger(
    service: Service, target: pb.OutputFormat.ValueType
) -> None:
    noise = np.random.default_rng(3).integers(90, 160, (200, 300, 3)).astype(np.uint8)
    sizes, errors = [], []
    for quality in (10, 60, 100):
        rendering = (await service.remove(encoded(noise), format=target, encoding_quality=quality)).rendering
        sizes.append(len(rendering.image))
        inside = decoded(rendering.image)[80:120, 120:180, :3].astype(int)
        errors.append(np.abs(inside - noise[80:120, 120:180]).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def photograph(orientation: int = 6) -> bytes:
    """A file as a camera writes it: turned, with its maker, 300 dots an inch and a thumbnail."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Acme", orientation
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    return encoded(gradient(300, 200), "JPEG", exif=exif.tobytes(), dpi=(300, 300))


@pytest.mark.parametrize(
    "target", [pb.OUTPUT_FORMAT_PNG, pb.OUTPUT_FORMAT_JPEG, pb.OUTPUT_FORMAT_WEBP, pb.OUTPUT_FORMAT_AVIF]
)
async def test_metadata_stay_when_asked_for_and_the_picture_is_not_turned_twice(
    service: Service, target: pb.OutputFormat.ValueType
) -> None:
    answer = await service.remove(photograph(), format=target, keep_metadata=True)
    with Image.open(io.BytesIO(answer.rendering.image)) as opened:
        exif = opened.getexif()
        assert opened.size == (200, 300)
        assert exif[0x010F] == "Acme"
        assert exif.get_ifd(0x8769)[0x9003] == "2026:01:01 00:00:00"
        assert exif.get(0x0112, 1) == 1
        assert opened.info["icc_profile"]
        if "dpi" in opened.info:
            assert round(opened.info["dpi"][0]) == 300


@pytest.mark.parametrize("target", LOSSY)
async def test_metadata_go_unless_they_are_asked_for(
    service: Service, target: pb.OutputFormat.ValueType
) -> None:
    content = (await service.remove(photograph(), format=target)).rendering.image
    assert b"Acme" not in content
    with Image.open(io.BytesIO(content)) as opened:
        assert not opened.getexif()


async def test_damaged_metadata_are_left_out_and_the_picture_is_served(service: Service) -> None:
    content = photograph().replace(b"Exif\0\0MM\0*\0\0\0\x08", b"Exif\0\0MM\0*\xff\xff\xff\xff", 1)
    answer = await service.remove(content, keep_metadata=True)
    assert answer.rendering.size.width_px in (200, 300)


async def test_the_light_of_any_colour_is_taken_out_as_strongly_as_asked(service: Service) -> None:
    picture = np.full((200, 300, 3), (160, 130, 100), np.uint8)
    orange = pb.Color(red=255, green=128, blue=0)
    casts = []
    for strength in (0, 50, 100):
        result = await service.pixels(
            encoded(picture), despill=True, despill_color=orange, despill_strength_percent=strength
        )
        casts.append(int(np.ptp(result[100, 150, :3].astype(int))))
    assert casts[0] == 60
    assert 25 <= casts[1] <= 35
    assert casts[2] <= 3


async def test_a_result_that_no_message_can_hold_is_refused_with_the_way_out() -> None:
    async with running_inference() as inference:
        settings = settings_for(inference, max_message_bytes=8 * 2**20)
        async with channel_to(await build(settings), settings) as channel:
            stub = compositor_pb2_grpc.CompositorServiceStub(channel)
            image = encoded(gradient(2000, 1500), "JPEG")
            asked = pb.RenderOptions(format=pb.OUTPUT_FORMAT_BMP)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.RemoveBackground(pb.RemoveBackgroundRequest(image=image, options=asked))
            asked.max_pixel_count = 1_000_000
            await stub.RemoveBackground(pb.RemoveBackgroundRequest(image=image, options=asked))
    error = from_rpc_error(raised.value)
    assert error.reason_name == "RESOLUTION_TOO_HIGH"
    assert "fewer pixels" in str(error)
