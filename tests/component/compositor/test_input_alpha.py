"""What becomes of transparency that a file brings."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from matteworks.compositor.v1 import compositor_pb2 as pb
from tests.component.compositor.conftest import Service
from tests.component.compositor.pictures import encoded, gradient


def half_cut_out() -> NDArray[np.uint8]:
    """A picture whose left half is transparent."""
    alpha = np.full((200, 300), 255, np.uint8)
    alpha[:, :150] = 0
    return np.dstack((gradient(300, 200), alpha))


async def test_the_matte_and_the_files_alpha_are_multiplied_unless_told_otherwise(service: Service) -> None:
    result = await service.pixels(encoded(half_cut_out()))
    assert result[100, 140, 3] == 0
    assert result[100, 160, 3] == 255
    assert result[5, 295, 3] == 0


async def test_a_file_that_is_cut_out_already_comes_back_and_no_network_is_asked(service: Service) -> None:
    source = half_cut_out()
    answer = await service.remove(
        encoded(source), input_alpha=pb.INPUT_ALPHA_IS_MATTE, format=pb.OUTPUT_FORMAT_PNG
    )
    result = await service.pixels(
        encoded(source), input_alpha=pb.INPUT_ALPHA_IS_MATTE, format=pb.OUTPUT_FORMAT_PNG
    )
    assert np.array_equal(result[..., 3], source[..., 3])
    assert np.array_equal(result[:, 150:, :3], source[:, 150:, :3])
    assert not answer.model


async def test_an_opaque_file_is_cut_out_all_the_same(service: Service) -> None:
    picture = encoded(gradient(300, 200))
    plain = await service.pixels(picture)
    assert np.array_equal(plain, await service.pixels(picture, input_alpha=pb.INPUT_ALPHA_IS_MATTE))


async def test_discarded_transparency_leaves_the_hidden_colours_to_the_matte(service: Service) -> None:
    opaque = await service.pixels(encoded(gradient(300, 200)))
    result = await service.pixels(encoded(half_cut_out()), input_alpha=pb.INPUT_ALPHA_DISCARDED)
    assert np.array_equal(result[..., 3], opaque[..., 3])


@pytest.mark.parametrize(
    "options", [{"crop": pb.Crop()}, {"max_pixel_count": 15_000}, {"roi": None}], ids=["crop", "small", "roi"]
)
async def test_it_goes_with_other_options(service: Service, options: dict[str, object]) -> None:
    if "roi" in options:
        px = [pb.Length(px=value) for value in (100, 50, 250, 150)]
        options = {"roi": pb.Region(left=px[0], top=px[1], right=px[2], bottom=px[3])}
    result = await service.pixels(
        encoded(half_cut_out()), input_alpha=pb.INPUT_ALPHA_IS_MATTE, format=pb.OUTPUT_FORMAT_PNG, **options
    )
    alpha = result[..., 3]
    shape = {"crop": (200, 150), "max_pixel_count": (100, 150), "roi": (200, 300)}[next(iter(options))]
    assert alpha.shape == shape
    if "roi" in options:
        assert alpha[100, 200] == 255
        assert alpha[20, 200] == 0
    else:
        assert alpha[:, -1].all()


async def test_an_unknown_value_is_refused(service: Service) -> None:
    error = await service.refusal(encoded(gradient(30, 20)), input_alpha=99)
    assert error.field == "input_alpha"
