"""URLs are taken apart once, and only http and https ones are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField
from matteworks_outbound.urls import PictureUrl, check_url


def checked(text: str) -> PictureUrl:
    return check_url(text, "image_url", reasons.ERROR_REASON_INVALID_IMAGE_URL)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a.example", "http://a.example:80/"),
        ("HTTPS://A.Example/x?y=1#z", "https://a.example:443/x?y=1"),
        ("http://a.example:8080/a b", "http://a.example:8080/a%20b"),
        (" https://a.example/%41 ", "https://a.example:443/%41"),
        ("http://[2606:4700::1]/", "http://[2606:4700::1]:80/"),
        ("http://b\u00fccher.example/\u00fc", "http://xn--bcher-kva.example:80/%C3%BC"),
    ],
)
def test_a_web_address_is_taken_apart(text: str, expected: str) -> None:
    assert str(checked(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "a.example/x", "ftp://a.example/", "file:///etc/passwd", "data:image/png;base64,AA", "http://",
     "http:///x", "http://u@a.example/", "http://u:p@a.example/", "http://a.example@evil.example/",
     "http://a.example:99999/", "http://a.example:0/", "http://a.example:x/", "http://a\r\nb.example/",
     "http://a.example/\r\nX: 1", "http://a.example\\@evil.example/", "http://[::1", "http://a..example/",
     "http://%6c%6fcalhost/", "http://[fe80::1%25eth0]/", "http://a.example/" + "x" * 9000,
     "http://" + "a" * 64 + ".example/", "http://\ud800.example/"],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidField) as caught:
        checked(text)
    assert (caught.value.field, caught.value.reason) == ("image_url", reasons.ERROR_REASON_INVALID_IMAGE_URL)


@given(st.one_of(st.text(max_size=80), st.text(max_size=60).map("http://".__add__)))
def test_any_text_is_a_clean_url_or_refused(text: str) -> None:
    try:
        url = checked(text)
    except InvalidField:
        return
    wire = f"{url.host}{url.target}"
    assert wire.isascii()
    assert not any(character <= " " or character == "\x7f" for character in wire)


@pytest.mark.parametrize(
    ("start", "location", "expected"),
    [
        ("http://a.example/x/y", "z", "http://a.example:80/x/z"),
        ("http://a.example/", "https://b.example/", "https://b.example:443/"),
        ("https://a.example/", "http://b.example/", "None"),
        ("https://a.example/", "//b.example/", "https://b.example:443/"),
        ("http://a.example/", "file:///x", "None"),
        ("http://a.example/", "http://u@b.example/", "None"),
        ("http://a.example/", "http://[", "None"),
    ],
)
def test_redirects_stay_on_the_web_and_keep_tls(start: str, location: str, expected: str) -> None:
    assert str(checked(start).follow(location)) == expected
