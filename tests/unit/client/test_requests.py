"""From plain Python to the wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_client import requests
from matteworks_client.choices import RenderChoices, enum_value, render_options
from matteworks_client.results import Matte, Size


def test_no_choice_is_the_zero_value() -> None:
    assert render_options({}) == compositor_pb2.RenderOptions()


def test_every_choice_reaches_the_wire() -> None:
    options = render_options(
        {
            "format": "jpeg",
            "channels": "alpha",
            "max_pixels": 1_000_000,
            "roi": (0, "10%", 300, "90.5%"),
            "crop": True,
            "crop_margin": ("5%", 1, 2, 3),
            "crop_aspect_ratio": (4, 5),
            "scale_percent": 80,
            "position": (50, 100),
            "shadow": "drop",
            "shadow_opacity_percent": 0,
            "semitransparency": False,
            "despill": True,
            "despill_color": (4, 5, 6),
            "despill_strength_percent": 0,
            "encoding_quality": 70,
            "keep_metadata": True,
            "holes": "clear",
            "bg_color": (1, 2, 3),
        }
    )

    assert options.format == compositor_pb2.OUTPUT_FORMAT_JPEG
    assert options.channels == compositor_pb2.CHANNELS_ALPHA
    assert options.max_pixel_count == 1_000_000
    assert (options.roi.left.px, options.roi.top.percent, options.roi.bottom.percent) == (0, 10, 90.5)
    assert (options.crop.margin_top.percent, options.crop.margin_left.px) == (5, 3)
    assert (options.crop.aspect_ratio.width, options.crop.aspect_ratio.height) == (4, 5)
    assert options.scale_percent == 80
    assert options.position.share.vertical_percent == 100
    assert options.shadows[0].shadow_type == compositor_pb2.SHADOW_TYPE_DROP
    assert options.shadows[0].HasField("opacity_percent"), "0 is not the same as absent"
    assert options.HasField("semitransparency")
    assert options.despill
    assert options.despill_color.green == 5
    assert options.HasField("despill_strength_percent")
    assert options.encoding_quality == 70
    assert options.keep_metadata
    assert options.holes == compositor_pb2.HOLES_CLEAR
    assert (options.bg_color.blue, options.bg_color.alpha) == (3, 255)


def test_the_subjects_own_place_differs_from_no_place() -> None:
    assert render_options({"position": "original"}).position.WhichOneof("place") == "original"
    assert not render_options({}).HasField("position")


def test_a_crop_without_margins_is_still_a_crop() -> None:
    assert render_options({"crop": True}).HasField("crop")
    assert not render_options({"crop": False}).HasField("crop")


@pytest.mark.parametrize(
    "choices",
    [
        {"format": "psd"},
        {"channels": "rgb"},
        {"shadow": "long"},
        {"roi": ("10", 0, 1, 1)},
        {"bg_color": (0, 0, 0), "bg_image": b"x"},
    ],
)
def test_what_cannot_be_meant_is_refused_here(choices: RenderChoices) -> None:
    with pytest.raises(ValueError, match=r".+"):
        render_options(choices)


def test_an_unknown_word_is_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="person, product, animal"):
        enum_value(image_pb2.SubjectType, "SUBJECT_TYPE", "dragon")


def test_a_picture_may_be_a_path(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"bytes")

    assert requests.inspection(path).image == b"bytes"


def test_each_request_has_an_id_of_its_own() -> None:
    first = requests.removal(b"x", "", None, None, {})
    second = requests.removal(b"x", "", None, None, {})

    assert first.request_id != second.request_id


def test_a_matte_goes_back_as_it_came() -> None:
    matte = Matte(b"\x00\xff", Size(2, 1), "", 0.0, "isnet", 1, {})

    request = requests.composition(b"x", matte, "car", {})

    assert (request.matte.alpha, request.matte.size.width_px) == (b"\x00\xff", 2)
    assert request.subject_type == image_pb2.SUBJECT_TYPE_CAR


def test_pixels_that_do_not_fit_their_size_are_refused_here() -> None:
    with pytest.raises(ValueError, match="2 x 2 pixels are not 3 bytes"):
        requests.pixel_segmentation(b"abc", Size(2, 2), "", None, None)
