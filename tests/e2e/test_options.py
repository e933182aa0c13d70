"""Options that only the whole stack can prove."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

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
