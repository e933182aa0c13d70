"""A request body to plain fields, whatever its encoding: multipart, urlencoded or JSON.

Names are the callers' own. Empty values and empty files count as absent. Unknown names are no
error. Of a name that comes twice the last value that is not empty counts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import InvalidPicture
from matteworks_edge.errors import malformed_body
from matteworks_edge.intake.multipart import MultipartReader, PartLimits
from matteworks_imaging.header import MAX_FILE_BYTES, check_file_size, read_header

MAX_FIELDS: Final = 100
MAX_TEXT_BYTES: Final = 8192
# Of fields that hold a drawing.
MAX_DRAWING_BYTES: Final = 512 * 1024
DRAWING_FIELDS: Final = frozenset({"strokes", "points"})
# What the proxy lets through: the largest file of any dialect and its form.
MAX_BODY_BYTES: Final = 72 * 1024 * 1024
# Stands for a text that was too long, or not a text: no parameter accepts it.
UNUSABLE: Final = "\0"
_IN_LOOP_BYTES: Final = 256 * 1024
_MAX_JSON_NESTING: Final = 200
_MAX_JSON_VALUES: Final = 50_000
# Undone for a whole text at once: one by one, the escapes of a large picture take many seconds.
_BASE64_ESCAPES: Final = (
    # A plus sign itself would pass for a blank afterwards; the URL-safe alphabet has this one for it.
    (b"%2B", b"-"),
    (b"%2b", b"-"),
    (b"%2F", b"/"),
    (b"%2f", b"/"),
    (b"%3D", b"="),
    (b"%3d", b"="),
    (b"%0D", b"\r"),
    (b"%0d", b"\r"),
    (b"%0A", b"\n"),
    (b"%0a", b"\n"),
)
_MAX_ESCAPES: Final = 10_000

FILE_FIELDS: Final = frozenset({"image_file", "bg_image_file", "mask_file", "original_file", "edited_file"})
# A picture in base64 that is answered in JSON.
LEGACY_FIELD: Final = "image_legacy_b64"
BASE64_FIELDS: Final = frozenset({"image_file_b64", "image_base64", "bg_image_file_b64", LEGACY_FIELD})


def text_limit(name: str) -> int:
    """The most bytes of a field that holds no picture."""
    return MAX_DRAWING_BYTES if name in DRAWING_FIELDS else MAX_TEXT_BYTES


@dataclass(frozen=True, slots=True)
class BodyRules:
    """How bodies of a dialect are read: its names of fields that we call otherwise, and the bytes that a
    picture may have, decoded.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    max_file_bytes: int = MAX_FILE_BYTES
    # Whether the body may be the picture itself.
    takes_raw: bool = False
    # Of the whole body; never below `max_file_bytes`, so that what is above it is a file too large.
    body_limit_bytes: int = MAX_BODY_BYTES

    @property
    def max_base64_bytes(self) -> int:
        """Base64 takes four bytes for three; line breaks and a data: prefix come on top."""
        return self.max_file_bytes // 3 * 4 + 1024 * 1024

    @property
    def max_body_bytes(self) -> int:
        """Two pictures and their form; urlencoded base64 may escape every third character."""
        return min(self.body_limit_bytes, 2 * self.max_file_bytes + 8 * 1024 * 1024)

    def check_file_size(self, size_bytes: int) -> None:
        """Raises InvalidPicture (FILE_TOO_LARGE) for more than a picture may have."""
        check_file_size(size_bytes, self.max_file_bytes)


@dataclass
class RawForm:
    """What the caller sent: texts by name, files by name; nothing empty."""

    # Base64 pictures are texts: neither is printed.
    texts: dict[str, str] = field(default_factory=dict, repr=False)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    rules: BodyRules = field(default_factory=BodyRules, repr=False)
    # Whether the body was the picture itself, so that the fields stand in the query.
    is_raw: bool = False

    def put_text(self, name: str, value: str) -> None:
        """Keep a text, unless it is empty; one that is too long becomes UNUSABLE."""
        if not value.strip():
            return
        limit = self.rules.max_base64_bytes if name in BASE64_FIELDS else text_limit(name)
        if name in BASE64_FIELDS and len(value) > limit:
            self.rules.check_file_size(len(value) // 4 * 3)
        self.texts[name] = value if len(value) <= limit else UNUSABLE


OWN_RULES: Final = BodyRules()


async def read_body(
    headers: Headers,
    chunks: AsyncIterator[bytes],
    account_for: Callable[[int], None],
    rules: BodyRules = OWN_RULES,
) -> RawForm:
    """Read and take apart a request body.

    `account_for` is called with the number of bytes before they are kept, and may refuse them.
    Raises InvalidField (MALFORMED_BODY) and InvalidPicture (FILE_TOO_LARGE).
    """
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise malformed_body("Send the body without Content-Encoding; compressed bodies are not read.")
    check_declared_length(headers, rules)
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind == b"multipart/form-data":
        return await _read_multipart(options.get(b"boundary", b""), chunks, account_for, rules)
    body = await read_whole(chunks, account_for, rules)
    if rules.takes_raw and kind != b"application/json" and _is_picture(body):
        return RawForm(files={"image_file": body}, rules=rules, is_raw=True)
    if not body:
        return RawForm(rules=rules)
    if kind == b"application/x-www-form-urlencoded":
        read = _read_urlencoded
    elif kind == b"application/json":
        read = _read_json
    else:
        raise malformed_body(
            "Send multipart/form-data, application/x-www-form-urlencoded or application/json."
        )
    if len(body) > _IN_LOOP_BYTES:
        return await asyncio.to_thread(read, body, rules)
    return read(body, rules)


def _is_picture(body: bytes) -> bool:
    """Clients label bytes with any type, so that their beginning decides."""
    try:
        read_header(body)
    except InvalidPicture as error:
        return error.reason != reasons.ERROR_REASON_INVALID_FILE_TYPE
    return True


def check_declared_length(headers: Headers, rules: BodyRules = OWN_RULES) -> None:
    """Raises InvalidField (MALFORMED_BODY), InvalidPicture (FILE_TOO_LARGE) before anything is read."""
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdecimal()):
        raise malformed_body("Content-Length is not a number.")
    if len(text) > 15 or int(text) > rules.max_body_bytes:
        rules.check_file_size(rules.max_body_bytes)


async def read_whole(
    chunks: AsyncIterator[bytes], account_for: Callable[[int], None], rules: BodyRules = OWN_RULES
) -> bytes:
    """The body as it is. Raises InvalidPicture (FILE_TOO_LARGE), and what `account_for` raises."""
    kept: list[bytes] = []
    size_bytes = 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > rules.max_body_bytes:
            rules.check_file_size(size_bytes)
        account_for(len(chunk))
        kept.append(chunk)
    return b"".join(kept)


async def _read_multipart(
    boundary: bytes,
    chunks: AsyncIterator[bytes],
    account_for: Callable[[int], None],
    rules: BodyRules,
) -> RawForm:
    if not boundary:
        raise malformed_body("The multipart boundary is missing from Content-Type.")
    try:
        reader = MultipartReader(
            boundary,
            lambda name: _limits_of(rules.names.get(name, name), rules),
            MAX_FIELDS,
            account_for,
        )
    except FormParserError as error:
        raise malformed_body("The multipart boundary is too long.") from error
    size_bytes = 0
    async for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > rules.max_body_bytes:
            rules.check_file_size(size_bytes)
        reader.feed(chunk)
    form = RawForm(rules=rules)
    if not size_bytes:
        return form
    for sent_name, value in reader.finish():
        name = rules.names.get(sent_name, sent_name)
        if name in FILE_FIELDS:
            if value:
                form.files[name] = value
        else:
            is_cut = len(value) > text_limit(name) and name not in BASE64_FIELDS
            form.put_text(name, UNUSABLE if is_cut else value.decode("utf-8", "replace"))
    return form


def _limits_of(name: str, rules: BodyRules) -> PartLimits:
    if name in FILE_FIELDS:
        return PartLimits(rules.max_file_bytes, refuse=rules.check_file_size)
    if name in BASE64_FIELDS:
        return PartLimits(rules.max_base64_bytes, refuse=rules.check_file_size)
    # One byte more than allowed is kept, so that put_text sees that it is too long.
    return PartLimits(text_limit(name) + 1, refuse=None)


def _read_urlencoded(body: bytes, rules: BodyRules) -> RawForm:
    if body.count(b"&") >= MAX_FIELDS:
        raise malformed_body(f"Send at most {MAX_FIELDS} fields.")
    form = RawForm(rules=rules)
    for pair in body.split(b"&"):
        raw_name, _, raw_value = pair.partition(b"=")
        if len(raw_name) > MAX_TEXT_BYTES:
            continue
        name = _unescape(raw_name)
        name = rules.names.get(name, name)
        if name in BASE64_FIELDS:
            for escape, character in _BASE64_ESCAPES:
                raw_value = raw_value.replace(escape, character)
            is_usable = raw_value.count(b"%") <= _MAX_ESCAPES
        else:
            is_usable = len(raw_value) <= 3 * text_limit(name)
        form.put_text(name, _unescape(raw_value) if is_usable else UNUSABLE)
    return form


def _unescape(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "replace")


def parse_json(body: bytes) -> dict[str, object]:
    """A JSON object whose numbers stay text. Raises InvalidField (MALFORMED_BODY)."""
    # Deep nesting costs stack; no parameter needs more than two levels. The braces may also stand
    # inside a text, so the limit is generous.
    if body.count(b"{") + body.count(b"[") > _MAX_JSON_NESTING:
        raise malformed_body("The JSON document is nested too deeply.")
    if body.count(b",") > _MAX_JSON_VALUES:
        raise malformed_body("The JSON document has too many values.")
    try:
        # Numbers stay text: their grammar is the parameter's, not JSON's.
        document = json.loads(body, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise malformed_body("The body is not valid JSON.") from error
    if not isinstance(document, dict):
        raise malformed_body("Send a JSON object.")
    if len(document) > MAX_FIELDS:
        raise malformed_body(f"Send at most {MAX_FIELDS} fields.")
    return document


def form_of(document: Mapping[str, object], rules: BodyRules) -> RawForm:
    """The fields of a JSON object; one level of objects becomes `name[key]`."""
    form = RawForm(rules=rules)
    for sent_name, value in document.items():
        name = rules.names.get(sent_name, sent_name)
        if isinstance(value, dict):
            for key, inner in list(value.items())[:MAX_FIELDS]:
                form.put_text(f"{name}[{key}]", _json_text(inner))
        else:
            form.put_text(name, _json_text(value))
    return form


def _read_json(body: bytes, rules: BodyRules) -> RawForm:
    return form_of(parse_json(body), rules)


def _json_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        # A field that takes a list takes it as text too.
        return json.dumps(value)
    return value if isinstance(value, str) else UNUSABLE
