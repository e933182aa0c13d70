"""Odd and hostile files from public test sets: a picture or a clear refusal, never more."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import numpy as np
import pytest

from matteworks_common.errors import from_rpc_error
from tests.component.compositor.conftest import Service
from tests.component.compositor.pictures import decoded

CORPORA = Path(__file__).resolve().parents[4] / "shared" / "corpora"
NOT_PICTURES = {".md", ".txt", ".py", ".json"}
SLOWEST_S = 5.0

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not CORPORA.is_dir(), reason=f"needs the evaluation data in {CORPORA}"),
    pytest.mark.timeout(900),
]


def files(folder: str) -> list[Path]:
    found = sorted((CORPORA / folder).glob("**/*"))
    return [path for path in found if path.is_file() and path.suffix not in NOT_PICTURES]


@pytest.mark.parametrize("folder", ["pngsuite", "pillow", "orientation"])
async def test_every_file_gives_a_picture_or_a_refusal_in_time(service: Service, folder: str) -> None:
    service.inference.draw = lambda width, height: np.full((height, width), 255, np.uint8)
    bad: list[str] = []
    accepted = 0
    for path in files(folder):
        content = path.read_bytes()
        start_s = time.monotonic()
        try:
            response = await service.remove(content, max_pixel_count=250_000)
            decoded(response.rendering.image)
            accepted += 1
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                bad.append(f"{path.name}: {error.code()} {error.details()}")
            elif from_rpc_error(error).reason_name == "INTERNAL":
                bad.append(f"{path.name}: INTERNAL")
        if time.monotonic() - start_s > SLOWEST_S:
            bad.append(f"{path.name}: took {time.monotonic() - start_s:.1f} s")
    assert not bad
    assert accepted > 10


@pytest.mark.parametrize("kind", ["Landscape", "Portrait"])
async def test_the_orientation_set_comes_out_upright_with_the_right_size(service: Service, kind: str) -> None:
    reference: np.ndarray | None = None
    for number in range(9):
        content = (CORPORA / "orientation" / f"{kind}_{number}.jpg").read_bytes()
        response = await service.remove(content)
        size = response.rendering.size
        is_wide = size.width_px > size.height_px
        assert is_wide == (kind == "Landscape")
        sent = service.inference.requests[-1].pixels
        seen = np.frombuffer(sent.rgb, np.uint8).reshape(sent.size.height_px, sent.size.width_px, 3)
        reference = seen if reference is None else reference
        assert np.abs(seen.astype(int) - reference).mean() < 12
