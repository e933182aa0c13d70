"""The key that the page to try shows to everybody."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.support.stack import RunningStack

pytestmark = pytest.mark.stack


def test_the_key_for_visitors_works_only_from_the_page(running_stack: RunningStack, demo_photo: Path) -> None:
    key = (running_stack.state_directory / "browser-key").read_text().strip()

    def status(**headers: str) -> int:
        answer = httpx.post(
            f"{running_stack.base_url}/v1.0/removebg", headers={"X-Api-Key": key, **headers},
            files={"image_file": demo_photo.read_bytes()}, timeout=60,
        )  # fmt: skip
        return answer.status_code

    assert status(Origin=running_stack.base_url) == 200
    assert (status(), status(Origin="https://evil.example")) == (403, 403)
