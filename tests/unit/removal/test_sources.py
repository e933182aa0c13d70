"""Base64 as clients write it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture
from matteworks_removal.sources import decode_base64


@given(st.binary(max_size=200))
def test_every_spelling_of_base64_gives_the_bytes(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    for spelling in (
        text,
        text.rstrip("="),
        base64.urlsafe_b64encode(data).decode(),
        text.replace("+", " ") + "\n",
        f" {text}\r\n " if text.endswith("=") else text,
        base64.encodebytes(data).decode(),
        f"data:image/png;base64,{text}",
    ):
        assert decode_base64(spelling) == data


@given(st.text(max_size=100))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    try:
        decode_base64(text)
    except InvalidPicture as error:
        reason = error.reason
    else:
        return
    assert reason == reasons.ERROR_REASON_FAILED_TO_READ_IMAGE


def test_the_size_is_refused_before_decoding() -> None:
    with pytest.raises(InvalidPicture) as caught:
        decode_base64("A" * 40_000_000)
    assert caught.value.reason == reasons.ERROR_REASON_FILE_TOO_LARGE
