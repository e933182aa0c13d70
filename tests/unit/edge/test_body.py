"""Bodies in three encodings, in any pieces, become the same form or one kind of error."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField
from matteworks_edge.intake.body import MAX_TEXT_BYTES, UNUSABLE, RawForm, read_body
from matteworks_removal.sources import decode_base64

NAMES = st.text("abcdefghij_", min_size=1, max_size=10)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=40).filter(
    str.strip
)


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(body: bytes, content_type: str, size: int = 1 << 16) -> RawForm:
    return await read_body(Headers({"content-type": content_type}), pieces(body, size), lambda _: None)


def multipart(fields: dict[str, str], files: dict[str, bytes]) -> bytes:
    parts = [
        f'--b0\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value.encode()
        for name, value in fields.items()
    ] + [
        f'--b0\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n\r\n'.encode() + value
        for name, value in files.items()
    ]
    return b"".join(part + b"\r\n" for part in parts) + b"--b0--\r\n"


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    fields=st.dictionaries(NAMES, TEXTS, max_size=5),
    file=st.binary(min_size=1, max_size=300).filter(lambda data: b"\r\n--b0" not in data),
    size=st.integers(1, 400),
)
async def test_a_multipart_body_is_read_whatever_its_pieces(
    fields: dict[str, str], file: bytes, size: int
) -> None:
    form = await read(multipart(fields, {"image_file": file}), "multipart/form-data; boundary=b0", size)
    assert form.texts == fields
    assert form.files == {"image_file": file}


@given(st.dictionaries(NAMES, TEXTS, max_size=5))
async def test_all_three_encodings_say_the_same(fields: dict[str, str]) -> None:
    as_json = await read(json.dumps(fields).encode(), "application/json")
    as_form = await read(urlencode(fields).encode(), "application/x-www-form-urlencoded")
    as_parts = await read(multipart(fields, {}), "multipart/form-data; boundary=b0")
    assert as_json.texts == as_form.texts == as_parts.texts == fields


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    content_type=st.sampled_from(
        ["multipart/form-data; boundary=b0", "application/json", "application/x-www-form-urlencoded"]
    ),
    body=st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from(
                [b"--b0", b"\r\n", b"--", b"Content-Disposition: form-data", b"; name=a", b":", b"x",
                 b"\r", b"\n", b'{"a":', b"}", b"[", b"&", b"=", b"%", b'"', b"\0", b"--b0--", b"\r\n--b0",
                 b";name*=utf-8''a"]
            ),
            max_size=30,
        ).map(b"".join),
    ),
    size=st.integers(1, 64),
)  # fmt: skip
async def test_any_bytes_are_a_form_or_malformed(content_type: str, body: bytes, size: int) -> None:
    try:
        await read(body, content_type, size)
    except InvalidField as error:
        reason = error.reason
    else:
        return
    assert reason == reasons.ERROR_REASON_MALFORMED_BODY


@pytest.mark.parametrize("character", ["x", "\u00fc"])
async def test_a_text_that_is_too_long_cannot_pass_for_its_beginning(character: str) -> None:
    text = "full" + " " * MAX_TEXT_BYTES + character
    for body, content_type in (
        (json.dumps({"size": text}).encode(), "application/json"),
        (urlencode({"size": text}).encode(), "application/x-www-form-urlencoded"),
        (multipart({"size": text}, {}), "multipart/form-data; boundary=b0"),
    ):
        assert (await read(body, content_type)).texts == {"size": UNUSABLE}


async def test_the_last_value_that_is_not_empty_counts() -> None:
    form = await read(b"size=full&size=auto&size=", "application/x-www-form-urlencoded")
    assert form.texts == {"size": "auto"}


async def test_bytes_are_accounted_before_they_are_kept() -> None:
    taken: list[int] = []
    body = multipart({"size": "full"}, {"image_file": b"y" * 1000})
    headers = Headers({"content-type": "multipart/form-data; boundary=b0"})
    await read_body(headers, pieces(body, 100), taken.append)
    assert sum(taken) == 1004


async def test_json_numbers_keep_their_spelling() -> None:
    form = await read(b'{"a": 1e309, "b": 007}'.replace(b"007", b"7.50"), "application/json")
    assert form.texts == {"a": "1e309", "b": "7.50"}


async def test_lists_arrive_as_their_text_so_that_only_a_field_of_lists_takes_them() -> None:
    form = await read(b'{"size": ["full"], "shadow_type": {"car": ["drop"], "x": null}}', "application/json")
    assert form.texts == {"size": '["full"]', "shadow_type[car]": '["drop"]'}


@given(st.binary(min_size=1, max_size=100), st.booleans())
async def test_escaped_base64_arrives_as_it_was(data: bytes, is_lower: bool) -> None:
    escaped = urlencode({"image_file_b64": base64.b64encode(data).decode()})
    if is_lower:
        escaped = escaped.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d")
    form = await read(escaped.encode(), "application/x-www-form-urlencoded")
    assert decode_base64(form.texts["image_file_b64"]) == data


async def test_base64_that_is_escaped_letter_by_letter_is_not_decoded() -> None:
    form = await read(b"image_file_b64=" + b"%41" * 20_000, "application/x-www-form-urlencoded")
    assert form.texts == {"image_file_b64": UNUSABLE}


async def test_json_with_very_many_values_is_malformed() -> None:
    with pytest.raises(InvalidField):
        await read(b'{"a":[' + b"1," * 60_000 + b"1]}", "application/json")
