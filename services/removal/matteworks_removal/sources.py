"""Where a picture comes from, and how its bytes get here."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture, MatteworksError
from matteworks_imaging.header import (
    MAX_FILE_BYTES,
    WEB_FORMATS,
    ImageFormat,
    ImageHeader,
    check_file_size,
    check_limits,
    read_header,
)
from matteworks_outbound.fetcher import FetchError
from matteworks_outbound.urls import PictureUrl

_URL_SAFE = bytes.maketrans(b"-_ ", b"+/+")


@dataclass(frozen=True, slots=True)
class SentPicture:
    """Bytes that came with the request, in the field `field`."""

    field: str
    content: bytes


@dataclass(frozen=True, slots=True)
class RemotePicture:
    """A picture to fetch."""

    field: str
    url: PictureUrl


PictureSource = SentPicture | RemotePicture


@dataclass(frozen=True, slots=True)
class Picture:
    """A file within the limits, and what its header says."""

    content: bytes
    header: ImageHeader


class PictureFetcher(Protocol):
    """Gets bytes from outside."""

    async def fetch(self, url: PictureUrl, account_for: Callable[[int], None], max_bytes: int) -> bytes:
        """The bytes at `url`. Raises FetchError, and InvalidPicture (FILE_TOO_LARGE)."""


async def load_pictures(
    source: PictureSource,
    background: PictureSource | None,
    fetcher: PictureFetcher,
    account_for: Callable[[int], None],
    max_bytes: int = MAX_FILE_BYTES,
    formats: frozenset[ImageFormat] = WEB_FORMATS,
) -> tuple[Picture, Picture | None]:
    """Both pictures, each at most `max_bytes` and of one of `formats`, checked by their headers; remote
    ones are fetched at the same time.

    Raises InvalidPicture: FAILED_IMAGE_DOWNLOAD, FAILED_BG_DOWNLOAD, INVALID_FILE_TYPE,
    INVALID_DIMENSIONS, FILE_TOO_LARGE, RESOLUTION_TOO_HIGH.
    """
    if background is None:
        return await load_picture(source, fetcher, account_for, max_bytes, formats), None
    try:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(load_picture(source, fetcher, account_for, max_bytes, formats))
            second = group.create_task(load_picture(background, fetcher, account_for, max_bytes, formats))
    except* MatteworksError as failures:
        raise failures.exceptions[0] from None
    return first.result(), second.result()


async def load_picture(
    source: PictureSource,
    fetcher: PictureFetcher,
    account_for: Callable[[int], None],
    max_bytes: int = MAX_FILE_BYTES,
    formats: frozenset[ImageFormat] = WEB_FORMATS,
) -> Picture:
    """One picture; errors name its field."""
    try:
        content = await _content_of(source, fetcher, account_for, max_bytes)
        check_file_size(len(content), max_bytes)
        header = read_header(content, formats)
        check_limits(header, len(content), max_bytes)
    except InvalidPicture as error:
        error.field = source.field
        raise
    return Picture(content, header)


async def _content_of(
    source: PictureSource, fetcher: PictureFetcher, account_for: Callable[[int], None], max_bytes: int
) -> bytes:
    if isinstance(source, SentPicture):
        return source.content
    try:
        return await fetcher.fetch(source.url, account_for, max_bytes)
    except FetchError as error:
        is_background = source.field.startswith("bg_")
        raise InvalidPicture(
            reasons.ERROR_REASON_FAILED_BG_DOWNLOAD
            if is_background
            else reasons.ERROR_REASON_FAILED_IMAGE_DOWNLOAD,
            f"The picture could not be fetched: {error.cause}.",
            metadata={"cause": error.cause},
        ) from error


def decode_base64(text: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a base64 text: standard or URL-safe alphabet, with or without padding, line breaks
    and a `data:` prefix; a blank is a plus sign that a form decoder has turned over. At most `max_bytes`.

    Raises InvalidPicture: FAILED_TO_READ_IMAGE, FILE_TOO_LARGE.
    """
    if text[:5].lower() == "data:":
        _, comma, text = text.partition(",")
        if not comma:
            text = "\0"
    raw = text.encode("utf-8", "replace")
    # Blanks at the edges are first taken for plus signs too, and only else for white space.
    content = _decode(raw, max_bytes)
    if content is None:
        content = _decode(raw.strip(), max_bytes)
    if content is None:
        raise InvalidPicture(
            reasons.ERROR_REASON_FAILED_TO_READ_IMAGE,
            "The picture is not valid base64.",
            field="image_file_b64",
        )
    return content


def _decode(raw: bytes, max_bytes: int) -> bytes | None:
    digits = raw.translate(_URL_SAFE, b"\r\n\t").rstrip(b"=")
    check_file_size(len(digits) * 3 // 4, max_bytes)
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
