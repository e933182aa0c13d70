"""A key that was mistyped is told from a key, without asking anybody."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from matteworks_common.key_format import ALPHABET, format_key, parse_key

ids = st.text(ALPHABET, min_size=4, max_size=32)
secrets = st.text(ALPHABET, min_size=22, max_size=64)
KEY = format_key("live", "8fJ2kQ0aZ1xT", "s" * 43)


@given(kind=st.sampled_from(["live", "test"]), key_id=ids, secret=secrets)
def test_what_was_formatted_is_parsed_back(kind: str, key_id: str, secret: str) -> None:
    parts = parse_key(format_key(kind, key_id, secret))  # type: ignore[arg-type]
    assert parts is not None
    assert (parts.kind, parts.key_id, parts.secret) == (kind, key_id, secret)


@given(position=st.integers(0, len(KEY) - 1), letter=st.sampled_from(ALPHABET + "_- "))
def test_a_single_wrong_character_is_found(position: int, letter: str) -> None:
    assume(KEY[position] != letter)
    assert parse_key(KEY[:position] + letter + KEY[position + 1 :]) is None


@given(st.text(max_size=300))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    parse_key(text)


@pytest.mark.parametrize("text", ["", KEY + "\n", " " + KEY, KEY.upper(), "mw_live_" + "a" * 100_000])
def test_text_around_a_key_is_not_a_key(text: str) -> None:
    assert parse_key(text) is None


def test_printing_the_parts_does_not_show_the_secret() -> None:
    assert "s" * 43 not in repr(parse_key(KEY))


@pytest.mark.parametrize("key_id", ["", "a_b_", "x" * 33])
def test_an_unusable_id_is_refused(key_id: str) -> None:
    with pytest.raises(ValueError, match="key id"):
        format_key("live", key_id, "s" * 43)
