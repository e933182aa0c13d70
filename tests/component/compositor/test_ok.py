"""What a good request gets."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2 as pb
from tests.component.compositor.conftest import Service
from tests.component.compositor.pictures import decoded, encoded, gradient, quadrants, with_orientation
from tests.support.fake_inference import box_matte

FORMATS = {
    "AUTO": pb.OUTPUT_FORMAT_AUTO,
    "PNG": pb.OUTPUT_FORMAT_PNG,
    "JPEG": pb.OUTPUT_FORMAT_JPEG,
    "WEBP": pb.OUTPUT_FORMAT_WEBP,
    "ZIP": pb.OUTPUT_FORMAT_ZIP,
}
INSIDE = (slice(50, 150), slice(80, 220))


def share(horizontal: float, vertical: float) -> pb.Position:
    return pb.Position(
        share=pb.Position.FreeRoomShare(horizontal_percent=horizontal, vertical_percent=vertical)
    )


def percent(value: float) -> pb.Length:
    return pb.Length(percent=value)


def px(value: int) -> pb.Length:
    return pb.Length(px=value)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("target", FORMATS)
async def test_every_input_format_comes_out_as_every_output_format(
    service: Service, source: str, target: str
) -> None:
    picture = gradient(300, 200)
    image = encoded(picture, source, **({"lossless": True} if source == "WEBP" else {}))
    rendering = (await service.remove(image, format=FORMATS[target])).rendering
    expected = {"AUTO": "PNG"}.get(target, target)
    assert rendering.format == FORMATS[expected]
    if expected == "ZIP":
        with zipfile.ZipFile(io.BytesIO(rendering.image)) as archive:
            result = decoded(archive.read("color.jpg"))
    else:
        with Image.open(io.BytesIO(rendering.image)) as opened:
            assert opened.format == expected
            assert not opened.getexif()
            assert "icc_profile" not in opened.info
            result = np.array(opened)
    assert result.shape[:2] == (200, 300)
    middle = (slice(80, 120), slice(120, 180))
    difference = np.abs(result[middle][..., :3].astype(int) - picture[middle])
    assert difference.mean() < 3


async def test_the_removed_background_cannot_be_found_in_the_file(service: Service) -> None:
    result = await service.pixels(encoded(quadrants(300, 200)))
    assert (result[..., 3] == 0).any()
    assert not result[result[..., 3] == 0].any()


async def test_an_opaque_background_makes_auto_a_jpeg(service: Service) -> None:
    rendering = (
        await service.remove(
            encoded(gradient(300, 200)), bg_color=pb.Color(red=255, green=0, blue=0, alpha=255)
        )
    ).rendering
    assert rendering.format == pb.OUTPUT_FORMAT_JPEG
    corner = decoded(rendering.image)[5, 5]
    assert np.abs(corner.astype(int) - (255, 0, 0)).max() <= 3


async def test_a_background_colour_with_alpha_zero_leaves_the_result_transparent(service: Service) -> None:
    rendering = (
        await service.remove(encoded(gradient(300, 200)), bg_color=pb.Color(red=9, alpha=0))
    ).rendering
    assert rendering.format == pb.OUTPUT_FORMAT_PNG
    assert tuple(decoded(rendering.image)[2, 2]) == (0, 0, 0, 0)


async def test_a_half_transparent_background_colour_stays_half_transparent(service: Service) -> None:
    result = await service.pixels(
        encoded(gradient(300, 200)), bg_color=pb.Color(red=10, green=20, blue=30, alpha=128)
    )
    assert tuple(result[2, 2]) == (10, 20, 30, 128)
    assert result[100, 150, 3] == 255


async def test_a_half_transparent_background_is_laid_over_white_in_a_jpeg(service: Service) -> None:
    result = await service.pixels(
        encoded(gradient(300, 200)),
        format=pb.OUTPUT_FORMAT_JPEG,
        bg_color=pb.Color(red=0, green=0, blue=0, alpha=128),
    )
    assert np.abs(result[2, 2].astype(int) - 127).max() <= 2


async def test_a_jpeg_is_white_where_nothing_lies_behind(service: Service) -> None:
    result = await service.pixels(encoded(gradient(300, 200)), format=pb.OUTPUT_FORMAT_JPEG)
    assert (result[2, 2] >= 253).all()


async def test_a_background_picture_fills_the_canvas_from_its_middle(service: Service) -> None:
    # Three times as wide as needed: only the middle third, blue, may show.
    background = np.zeros((200, 900, 3), np.uint8)
    background[:, :300], background[:, 300:600], background[:, 600:] = (255, 0, 0), (0, 0, 255), (0, 255, 0)
    result = await service.pixels(encoded(gradient(300, 200)), bg_image=encoded(background))
    for corner in (result[3, 3], result[3, -4], result[-4, 3], result[-4, -4]):
        assert np.abs(corner.astype(int) - (0, 0, 255)).max() <= 6


async def test_a_background_picture_of_the_same_size_is_used_as_it_is(service: Service) -> None:
    background = quadrants(300, 200)
    result = await service.pixels(
        encoded(gradient(300, 200)), bg_image=encoded(background), format=pb.OUTPUT_FORMAT_PNG
    )
    assert np.array_equal(result[:20, :, :3], background[:20])


async def test_channels_alpha_is_a_grey_png_of_the_matte(service: Service) -> None:
    service.inference.draw = box_matte(0.25, 0.25, 0.75, 0.75)
    rendering = (await service.remove(encoded(gradient(300, 200)), channels=pb.CHANNELS_ALPHA)).rendering
    assert rendering.format == pb.OUTPUT_FORMAT_PNG
    result = decoded(rendering.image)
    assert result.shape == (200, 300)
    assert result[100, 150] == 255
    assert result[2, 2] == 0


async def test_a_zip_holds_two_stored_files_in_order_with_a_plain_grey_alpha(service: Service) -> None:
    rendering = (await service.remove(encoded(gradient(300, 200)), format=pb.OUTPUT_FORMAT_ZIP)).rendering
    with zipfile.ZipFile(io.BytesIO(rendering.image)) as archive:
        entries = archive.infolist()
        assert [entry.filename for entry in entries] == ["color.jpg", "alpha.png"]
        assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
        assert {entry.create_system for entry in entries} == {3}
        color, alpha = archive.read("color.jpg"), archive.read("alpha.png")
    assert b"\xff\xc0" in color, "baseline"
    assert alpha[24:26] == b"\x08\x00", "8 bit, grey"
    assert alpha[28] == 0, "not interlaced"
    assert b"tRNS" not in alpha


async def test_a_zip_put_together_again_equals_the_png_within_the_jpegs_error(service: Service) -> None:
    image = encoded(gradient(300, 200))
    png = await service.pixels(image, format=pb.OUTPUT_FORMAT_PNG)
    packed = (await service.remove(image, format=pb.OUTPUT_FORMAT_ZIP)).rendering.image
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        color, alpha = decoded(archive.read("color.jpg")), decoded(archive.read("alpha.png"))
    assert np.array_equal(alpha, png[..., 3])
    seen = alpha > 0
    difference = np.abs(color[seen].astype(int) - png[seen][:, :3])
    weighted = difference * (alpha[seen][:, None] / 255)
    assert weighted.mean() < 1
    assert weighted.max() <= 16


async def test_equal_requests_give_equal_files(service: Service) -> None:
    image = encoded(gradient(120, 90))
    for format_ in FORMATS.values():
        first = (await service.remove(image, format=format_)).rendering.image
        assert first == (await service.remove(image, format=format_)).rendering.image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
async def test_every_exif_orientation_comes_out_upright(
    service: Service, orientation: int, format_: str
) -> None:
    upright = quadrants(120, 80)
    response = await service.remove(
        with_orientation(upright, orientation, format_),
        bg_color=pb.Color(alpha=255),
        format=pb.OUTPUT_FORMAT_PNG,
    )
    size = response.rendering.source_size
    assert (size.width_px, size.height_px) == (120, 80)
    sent = service.inference.requests[-1].pixels
    assert (sent.size.width_px, sent.size.height_px) == (120, 80)
    seen = np.frombuffer(sent.rgb, np.uint8).reshape(80, 120, 3)
    for y, x in ((20, 30), (20, 90), (60, 30), (60, 90)):
        assert np.abs(seen[y, x].astype(int) - upright[y, x]).max() < 25
    with Image.open(io.BytesIO(response.rendering.image)) as opened:
        assert not opened.getexif()


async def test_the_foreground_box_is_told_in_pixels_of_the_upright_uncropped_picture(
    service: Service,
) -> None:
    service.inference.draw = box_matte(0.25, 0.5, 0.75, 0.75)
    rendering = (
        await service.remove(encoded(gradient(400, 200)), crop=pb.Crop(), max_pixel_count=2000)
    ).rendering
    box = rendering.foreground
    assert abs(box.left_px - 100) <= 4
    assert abs(box.top_px - 100) <= 4
    assert abs(box.left_px + box.width_px - 300) <= 4
    assert abs(box.top_px + box.height_px - 150) <= 4


async def test_crop_cuts_to_the_subject_and_adds_the_margins(service: Service) -> None:
    service.inference.draw = box_matte(0.25, 0.25, 0.75, 0.75)
    plain = (await service.remove(encoded(gradient(400, 200)), crop=pb.Crop())).rendering
    box = plain.foreground
    assert (plain.size.width_px, plain.size.height_px) == (box.width_px, box.height_px)
    margins = pb.Crop(
        margin_top=px(7), margin_right=percent(10), margin_bottom=px(0), margin_left=percent(50)
    )
    wide = (await service.remove(encoded(gradient(400, 200)), crop=margins)).rendering
    assert wide.size.height_px == box.height_px + 7
    assert wide.size.width_px == box.width_px + round(box.width_px * 0.1) + round(box.width_px * 0.5)
    alpha = decoded(wide.image)[..., 3]
    assert not alpha[:6].any()


async def test_scale_makes_the_subject_fill_its_share_of_the_canvas_in_the_middle(service: Service) -> None:
    service.inference.draw = box_matte(0.0, 0.0, 0.25, 0.5)
    result = await service.pixels(encoded(gradient(400, 200)), scale_percent=80)
    assert result.shape[:2] == (200, 400)
    rows, columns = np.nonzero(result[..., 3] > 127)
    assert abs((rows.max() - rows.min() + 1) - 160) <= 2
    assert abs((columns.min() + columns.max() + 1) / 2 - 200) <= 1
    assert abs((rows.min() + rows.max() + 1) / 2 - 100) <= 1


@pytest.mark.parametrize(("horizontal", "vertical"), [(0, 0), (100, 0), (50, 100), (25, 75)])
async def test_position_shares_the_free_room(service: Service, horizontal: float, vertical: float) -> None:
    service.inference.draw = box_matte(0.3, 0.3, 0.6, 0.6)
    result = await service.pixels(encoded(gradient(400, 200)), position=share(horizontal, vertical))
    rows, columns = np.nonzero(result[..., 3] > 7)
    width, height = columns.max() - columns.min() + 1, rows.max() - rows.min() + 1
    assert abs(columns.min() - (400 - width) * horizontal / 100) <= 1
    assert abs(rows.min() - (200 - height) * vertical / 100) <= 1


async def test_outside_the_roi_the_result_is_empty_and_the_network_sees_only_the_roi(
    service: Service,
) -> None:
    service.inference.draw = lambda width, height: np.full((height, width), 255, np.uint8)
    region = pb.Region(left=px(100), top=percent(25), right=px(300), bottom=percent(75))
    response = await service.remove(encoded(gradient(400, 200)), roi=region)
    alpha = decoded(response.rendering.image)[..., 3]
    expected = np.zeros((200, 400), np.uint8)
    expected[50:150, 100:300] = 255
    assert np.array_equal(alpha, expected)
    sent = service.inference.requests[-1]
    assert (sent.pixels.size.width_px, sent.pixels.size.height_px) == (200, 100)
    assert (sent.source_size.width_px, sent.source_size.height_px) == (200, 100)
    box = response.rendering.foreground
    assert (box.left_px, box.top_px, box.width_px, box.height_px) == (100, 50, 200, 100)


async def test_the_network_gets_each_side_squeezed_to_1024_pixels(service: Service) -> None:
    await service.remove(encoded(gradient(2000, 700), "JPEG"))
    sent = service.inference.requests[-1]
    assert (sent.pixels.size.width_px, sent.pixels.size.height_px) == (1024, 700)
    assert (sent.source_size.width_px, sent.source_size.height_px) == (2000, 700)


async def test_a_result_is_made_smaller_to_keep_the_pixel_limit_and_says_so(service: Service) -> None:
    rendering = (
        await service.remove(encoded(gradient(2000, 1000), "JPEG"), max_pixel_count=250_000)
    ).rendering
    assert (rendering.size.width_px, rendering.size.height_px) == (707, 353)
    assert rendering.is_shrunk
    assert decoded(rendering.image).shape[:2] == (353, 707)
    assert (rendering.source_size.width_px, rendering.source_size.height_px) == (2000, 1000)


async def test_a_result_is_never_made_larger(service: Service) -> None:
    rendering = (await service.remove(encoded(gradient(100, 50)), max_pixel_count=1_000_000)).rendering
    assert (rendering.size.width_px, rendering.size.height_px) == (100, 50)
    assert not rendering.is_shrunk


async def test_a_png_keeps_to_its_own_limit_where_a_jpeg_need_not(service: Service) -> None:
    image = encoded(np.full((2600, 4000, 3), 128, np.uint8), "JPEG")
    png = (await service.remove(image, max_png_pixel_count=10_000_000)).rendering
    assert png.size.width_px * png.size.height_px <= 10_000_000
    assert png.is_shrunk
    full = (await service.remove(image)).rendering
    assert (full.size.width_px, full.size.height_px) == (4000, 2600)
    asked = {"format": pb.OUTPUT_FORMAT_JPEG, "max_png_pixel_count": 10_000_000}
    jpeg = (await service.remove(image, **asked)).rendering
    assert (jpeg.size.width_px, jpeg.size.height_px) == (4000, 2600)
    assert not jpeg.is_shrunk


async def test_a_result_fits_into_a_box_that_is_turned_to_it_after_the_crop(service: Service) -> None:
    box = image_pb2.Size(width_px=192, height_px=108)
    upright = (await service.remove(encoded(gradient(300, 400)), max_size=box)).rendering
    assert (upright.size.width_px, upright.size.height_px) == (108, 144)
    cropped = (await service.remove(encoded(gradient(300, 400)), max_size=box, crop=pb.Crop())).rendering
    longer, shorter = sorted((cropped.size.width_px, cropped.size.height_px), reverse=True)
    assert (longer == 192 and shorter <= 108) or (shorter == 108 and longer <= 192) or not cropped.is_shrunk


async def test_a_transparent_input_stays_transparent_and_keeps_its_colours(service: Service) -> None:
    service.inference.draw = lambda width, height: np.full((height, width), 255, np.uint8)
    picture = np.zeros((100, 100, 4), np.uint8)
    picture[20:80, 20:80] = (200, 100, 50, 255)
    picture[40:60, 40:60, 3] = 128
    result = await service.pixels(encoded(picture))
    assert np.array_equal(result[..., 3], picture[..., 3])
    assert tuple(result[50, 50][:3]) == (200, 100, 50)


async def test_the_callers_word_on_the_subject_wins(service: Service) -> None:
    request = pb.RemoveBackgroundRequest(
        image=encoded(gradient(60, 60)), subject_type=image_pb2.SUBJECT_TYPE_CAR
    )
    response = await service.stub.RemoveBackground(request)
    assert response.subject.type == image_pb2.SUBJECT_TYPE_CAR
    assert service.inference.requests[-1].subject_type == image_pb2.SUBJECT_TYPE_CAR


async def test_the_detected_subject_and_model_are_told(service: Service) -> None:
    response = await service.remove(encoded(gradient(60, 60)))
    assert response.subject.type == image_pb2.SUBJECT_TYPE_PRODUCT
    assert response.model == "drawn"


async def test_stages_name_every_step_and_those_of_the_inference_service(service: Service) -> None:
    response = await service.remove(encoded(gradient(60, 60)))
    names = [stage.stage for stage in response.stages]
    assert names[0] == "queue"
    assert names[-1] == "inference.infer"
    assert {"decode", "segment", "matte", "colours", "encode"} <= set(names)


async def test_one_request_decodes_once_and_asks_the_network_once(service: Service) -> None:
    response = await service.remove(encoded(gradient(60, 60)))
    assert [stage.stage for stage in response.stages].count("decode") == 1
    assert len(service.inference.requests) == 1


async def test_a_one_pixel_picture_is_handled(service: Service) -> None:
    service.inference.draw = lambda width, height: np.full((height, width), 255, np.uint8)
    rendering = (await service.remove(encoded(gradient(1, 1)))).rendering
    assert (rendering.size.width_px, rendering.size.height_px) == (1, 1)


async def test_a_strip_of_one_pixel_height_is_handled(service: Service) -> None:
    service.inference.draw = lambda width, height: np.full((height, width), 255, np.uint8)
    rendering = (await service.remove(encoded(gradient(20000, 1)))).rendering
    assert (rendering.size.width_px, rendering.size.height_px) == (20000, 1)


async def test_a_shadow_widens_a_cropped_canvas_and_shows_below_the_subject(service: Service) -> None:
    image = encoded(gradient(400, 400))
    plain = (await service.remove(image, crop=pb.Crop())).rendering
    shadow = pb.Shadow(shadow_type=pb.SHADOW_TYPE_DROP)
    shaded = (await service.remove(image, crop=pb.Crop(), shadows=[shadow])).rendering
    assert shaded.size.height_px > plain.size.height_px
    result = decoded(shaded.image)
    below = result[-3:, result.shape[1] // 4 : -result.shape[1] // 4]
    assert (below[..., :3] == 0).all()
    assert below[..., 3].max() > 0
