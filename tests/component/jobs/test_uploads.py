"""Pictures of a batch on their way into the store: several at once, and nothing left when one fails."""

from __future__ import annotations

import pytest

from matteworks_common.errors import Unavailable
from matteworks_jobs.results.objects import ObjectBox
from tests.support.jobs_harness import JobsStack


async def test_a_batch_of_which_one_picture_cannot_be_stored_is_refused_and_leaves_nothing(
    stack: JobsStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, under_way, most, count = ObjectBox.put, 0, 0, 0

    async def fail_the_twelfth(box: ObjectBox, name: str, content: bytes, content_type: str) -> None:
        nonlocal under_way, most, count
        count += 1
        under_way += 1
        most = max(most, under_way)
        number = count
        try:
            await put(box, name, content, content_type)
        finally:
            under_way -= 1
        if number == 12:
            raise Unavailable("Away, for a test.")

    monkeypatch.setattr(ObjectBox, "put", fail_the_twelfth)
    with pytest.raises(Unavailable):
        await stack.submit([stack.spec() for _ in range(20)])
    await stack.swept()

    assert 1 < most <= 8
    assert stack.files() == []
