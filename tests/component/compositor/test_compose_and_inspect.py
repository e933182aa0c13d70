"""Compose with the caller's own matte, and Inspect."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks_common.errors import from_rpc_error
from tests.component.compositor.conftest import Service
from tests.component.compositor.pictures import decoded, encoded, gradient, with_orientation

PICTURE = encoded(gradient(200, 100))


def bare(alpha: NDArray[np.uint8]) -> image_pb2.Matte:
    size = image_pb2.Size(width_px=alpha.shape[1], height_px=alpha.shape[0])
    return image_pb2.Matte(alpha=alpha.tobytes(), size=size)


def half(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """The left half belongs to the subject."""
    matte = np.zeros((height_px, width_px), np.uint8)
    matte[:, : width_px // 2] = 255
    return matte


async def compose(service: Service, **fields: Any) -> NDArray[np.uint8]:
    options = fields.pop("options", {})
    request = pb.ComposeRequest(image=PICTURE, options=pb.RenderOptions(**options), **fields)
    return decoded((await service.stub.Compose(request)).rendering.image)


async def test_a_matte_of_the_pictures_size_is_used_exactly(service: Service) -> None:
    result = await compose(service, matte=bare(half(200, 100)))
    assert np.array_equal(result[..., 3], half(200, 100))
    assert not service.inference.requests


@pytest.mark.parametrize("size", [(20, 10), (1000, 500), (64, 64), (2, 1)])
async def test_a_matte_of_any_other_size_is_stretched_over_the_picture(
    service: Service, size: tuple[int, int]
) -> None:
    result = await compose(service, matte=bare(half(*size)))
    assert (result[:, :40, 3] == 255).all()
    assert (result[:, 160:, 3] == 0).all()


async def test_a_grey_picture_is_a_matte_by_its_luminance(service: Service) -> None:
    result = await compose(service, matte_image=encoded(half(200, 100)))
    assert np.array_equal(result[..., 3], half(200, 100))


async def test_a_transparent_picture_is_a_matte_by_its_alpha(service: Service) -> None:
    matte = np.full((100, 200, 4), 7, np.uint8)
    matte[..., 3] = half(200, 100)
    result = await compose(service, matte_image=encoded(matte))
    assert np.array_equal(result[..., 3], half(200, 100))


async def test_options_apply_to_compose_too(service: Service) -> None:
    result = await compose(service, matte=bare(half(200, 100)), options={"crop": pb.Crop()})
    assert result.shape[:2] == (100, 100)


async def test_a_roi_clears_a_brought_matte_outside(service: Service) -> None:
    region = pb.Region(
        left=pb.Length(px=10), top=pb.Length(px=20), right=pb.Length(px=50), bottom=pb.Length(px=60)
    )
    result = await compose(service, matte=bare(half(200, 100)), options={"roi": region})
    expected = np.zeros((100, 200), np.uint8)
    expected[20:60, 10:50] = 255
    assert np.array_equal(result[..., 3], expected)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"matte": image_pb2.Matte()},
        {"matte": image_pb2.Matte(alpha=b"123", size=image_pb2.Size(width_px=2, height_px=2))},
        {"matte": image_pb2.Matte(alpha=b"1", size=image_pb2.Size(width_px=-1, height_px=-1))},
    ],
)
async def test_a_missing_or_misfit_matte_is_refused(service: Service, fields: dict[str, Any]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await compose(service, **fields)
    assert from_rpc_error(raised.value).field == "matte"


async def test_an_empty_brought_matte_is_an_unknown_foreground(service: Service) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await compose(service, matte=bare(np.zeros((10, 10), np.uint8)))
    assert from_rpc_error(raised.value).reason_name == "UNKNOWN_FOREGROUND"


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_inspect_tells_type_upright_size_and_orientation(service: Service, orientation: int) -> None:
    content = with_orientation(gradient(60, 40), orientation)
    facts = await service.stub.Inspect(pb.InspectRequest(image=content[:2000]))
    assert facts.format == pb.INPUT_FORMAT_JPEG
    assert (facts.size.width_px, facts.size.height_px) == (60, 40)
    assert facts.exif_orientation == orientation
    assert facts.pixel_count == 2400


async def test_inspect_refuses_what_is_no_picture(service: Service) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await service.stub.Inspect(pb.InspectRequest(image=b"8BPS"))
    error = from_rpc_error(raised.value)
    assert error.reason_name == "INVALID_FILE_TYPE"
    assert error.metadata["received"] == "psd"
