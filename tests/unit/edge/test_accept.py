"""Bytes or JSON, for every Accept header that real clients send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks_edge.intake.accept import prefers_json


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json, text/plain, */*", False),
        ("application/json", True),
        ("APPLICATION/JSON; charset=utf-8", True),
        ("image/*", False),
        ("image/png, application/json", False),
        ("application/json, image/png;q=0.5", True),
        ("application/json;q=0.5, image/png;q=0.4, */*;q=0.1", True),
        ("application/json;q=0.5, */*;q=0.5", False),
        ("application/json;q=0", False),
        ("application/json;q=2", False),
        ("application/json;q=nan, */*;q=0.1", False),
        ("application/zip, application/json", False),
        ("text/html, application/json", True),
        ("application/*", False),
        ("application/json; q = 1", True),
    ],
)
def test_json_only_for_who_prefers_it(accept: str | None, is_json: bool) -> None:
    assert prefers_json(accept) is is_json


@given(st.text(max_size=200))
def test_any_header_has_an_answer(accept: str) -> None:
    assert prefers_json(accept) in (True, False)
