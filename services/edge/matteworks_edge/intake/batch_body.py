"""The body of a batch: JSON with a list of pictures by URL, or multipart with several files.

JSON: `{"images": [{"image_url": …, …}, …], …}`; what stands beside `images` holds for every picture that
says nothing else. Multipart, an extension of ours: a file part `images` for each picture, the other fields
for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidField
from matteworks_edge.errors import malformed_body
from matteworks_edge.intake.body import (
    MAX_BODY_BYTES,
    MAX_FIELDS,
    MAX_TEXT_BYTES,
    BodyRules,
    RawForm,
    check_declared_length,
    form_of,
    parse_json,
    read_whole,
)
from matteworks_edge.intake.multipart import MultipartReader, PartLimits

LIST_FIELD: Final = "images"


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Fields for all pictures, and the fields of each; nothing empty."""

    defaults: RawForm
    items: tuple[RawForm, ...]


async def read_batch(
    headers: Headers,
    chunks: AsyncIterator[bytes],
    account_for: Callable[[int], None],
    rules: BodyRules,
    max_count: int,
) -> RawBatch:
    """Read a batch of 1 to `max_count` pictures; `rules` and `account_for` as for `read_body`.

    Raises InvalidField (MALFORMED_BODY, INVALID_BATCH_SIZE) and InvalidPicture (FILE_TOO_LARGE).
    """
    check_declared_length(headers, rules)
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind == b"multipart/form-data":
        return await _read_multipart(options.get(b"boundary", b""), chunks, account_for, rules, max_count)
    if kind != b"application/json":
        raise malformed_body("Send application/json, or multipart/form-data with files in images.")
    body = await read_whole(chunks, account_for, rules)
    return await asyncio.to_thread(_read_json, body, rules, max_count)


def _read_json(body: bytes, rules: BodyRules, max_count: int) -> RawBatch:
    document = parse_json(body)
    images = document.pop(LIST_FIELD, None)
    if not isinstance(images, list):
        raise _wrong_count(max_count)
    _check_count(len(images), max_count)
    items = []
    for index, image in enumerate(images):
        if not isinstance(image, dict):
            field = f"{LIST_FIELD}[{index}]"
            raise InvalidField(field, f'Give an object such as {{"image_url": "https://…"}} in {field}.')
        items.append(form_of(dict(list(image.items())[:MAX_FIELDS]), rules))
    return RawBatch(form_of(document, rules), tuple(items))


async def _read_multipart(
    boundary: bytes,
    chunks: AsyncIterator[bytes],
    account_for: Callable[[int], None],
    rules: BodyRules,
    max_count: int,
) -> RawBatch:
    if not boundary:
        raise malformed_body("The multipart boundary is missing from Content-Type.")
    try:
        reader = MultipartReader(boundary, lambda name: _limits_of(name, rules), MAX_FIELDS, account_for)
    except FormParserError as error:
        raise malformed_body("The multipart boundary is too long.") from error
    size_bytes = 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > MAX_BODY_BYTES:
            rules.check_file_size(size_bytes)
        reader.feed(chunk)
    defaults, items = RawForm(rules=rules), []
    for name, value in reader.finish() if size_bytes else ():
        if _is_file(name):
            if value:
                items.append(RawForm(files={"image_file": value}, rules=rules))
        else:
            defaults.put_text(rules.names.get(name, name), value.decode("utf-8", "replace"))
    _check_count(len(items), max_count)
    return RawBatch(defaults, tuple(items))


def _is_file(name: str) -> bool:
    return name in (LIST_FIELD, f"{LIST_FIELD}[]")


def _limits_of(name: str, rules: BodyRules) -> PartLimits:
    if _is_file(name):
        return PartLimits(rules.max_file_bytes, refuse=rules.check_file_size)
    return PartLimits(MAX_TEXT_BYTES + 1, refuse=None)


def _check_count(count: int, max_count: int) -> None:
    if not 1 <= count <= max_count:
        raise _wrong_count(max_count)


def _wrong_count(max_count: int) -> InvalidField:
    return InvalidField(
        LIST_FIELD,
        f"Give 1 to {max_count} pictures in {LIST_FIELD}.",
        reason=reasons.ERROR_REASON_INVALID_BATCH_SIZE,
    )
