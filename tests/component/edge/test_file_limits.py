"""How large a picture may be, and of what type, is each provider's own."""

from __future__ import annotations

import base64

import httpx
import pytest

from matteworks_common.settings import MEBIBYTE
from tests.support.edge_harness import EdgeStack, picture

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Path, field of the file, field of the same in base64, megabytes, status and code of one byte more.
LIMITS = [
    ("/v1.0/removebg", "image_file", "image_file_b64", 22, 400),
    ("/v1/removebg", "image_file", "image_file_b64", 25, 400),
    ("/v1/segment", "image_file", "image_file_b64", 30, 400),
    ("/remove-background/v1", "image_file", "image_file_b64", 30, 400),
    ("/v2.0/remove_image_background", "source_image_file", "source_image_base64", 22, 400),
]


def padded(size_bytes: int) -> bytes:
    """A JPEG with bytes behind its end, which decoders ignore."""
    small = picture()
    return small + b"\0" * (size_bytes - len(small))


@pytest.mark.parametrize(("path", "field", "_", "limit_mb", "status"), LIMITS)
async def test_a_file_of_exactly_the_limit_passes_and_one_byte_more_does_not(
    edge: EdgeStack, path: str, field: str, _: str, limit_mb: int, status: int
) -> None:
    async def send(size_bytes: int) -> httpx.Response:
        return await edge.http.post(
            path, files={field: ("x.jpg", padded(size_bytes))}, headers={"X-Api-Key": edge.key}
        )

    assert (await send(limit_mb * MEBIBYTE)).status_code == 200
    refused = await send(limit_mb * MEBIBYTE + 1)
    assert refused.status_code == status
    assert "File too large" in refused.text
    assert edge.accounts.calls.count("Reserve") == 1


@pytest.mark.parametrize(("path", "_", "field", "limit_mb", "status"), LIMITS)
async def test_the_limit_is_of_decoded_bytes(
    edge: EdgeStack, path: str, _: str, field: str, limit_mb: int, status: int
) -> None:
    text = base64.b64encode(padded(limit_mb * MEBIBYTE)).decode()
    answer = await edge.http.post(path, json={field: text}, headers={"X-Api-Key": edge.key})
    assert answer.status_code == 200
    text = base64.b64encode(padded(limit_mb * MEBIBYTE + 3)).decode()
    answer = await edge.http.post(path, json={field: text}, headers={"X-Api-Key": edge.key})
    assert answer.status_code == status


@pytest.mark.parametrize("kind", ["TIFF", "BMP", "GIF"])
async def test_providers_read_more_than_they_document(edge: EdgeStack, kind: str) -> None:
    for path in ("/v1/removebg", "/v1/segment", "/remove-background/v1"):
        answer = await edge.remove(picture(kind=kind), path=path)
        assert answer.status_code == 200, answer.text


async def test_remove_bg_keeps_refusing_animations(edge: EdgeStack) -> None:
    answer = await edge.remove(picture(kind="GIF"))
    assert answer.json()["errors"][0]["detail"] == "Expected jpg/png/webp, received gif"
    assert (await edge.remove(picture(kind="TIFF"))).status_code == 200


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/v1.0/removebg", 10_000_000),
        ("/v1/removebg", 0),
        ("/v1/segment", 0),
        ("/remove-background/v1", 0),
        ("/v2.0/remove_image_background", 0),
    ],
)
async def test_only_remove_bg_makes_a_large_png_smaller(edge: EdgeStack, path: str, most: int) -> None:
    field = "source_image_file" if path.startswith("/v2.0") else "image_file"
    await edge.http.post(
        path, files={field: ("x.jpg", picture())}, data={"format": "png"}, headers={"X-Api-Key": edge.key}
    )
    assert edge.compositor.requests[-1].options.max_png_pixel_count == most


async def test_transparency_handling_is_clipdrops(edge: EdgeStack) -> None:
    path = "/remove-background/v1"
    await edge.remove(path=path)
    assert edge.compositor.requests[-1].options.input_alpha == 2
    await edge.remove(path=path, transparency_handling="discard_alpha_layer")
    assert edge.compositor.requests[-1].options.input_alpha == 3
    answer = await edge.remove(path=path, transparency_handling="perhaps")
    assert answer.status_code == 400
    assert "transparency_handling" in answer.json()["error"]


@pytest.mark.parametrize(("name", "value"), [("avif", 7), ("webp_lossless", 6)])
async def test_two_formats_are_ours(edge: EdgeStack, name: str, value: int) -> None:
    await edge.remove(format=name)
    assert edge.compositor.requests[-1].options.format == value
