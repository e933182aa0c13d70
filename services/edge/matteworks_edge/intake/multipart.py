"""Parts of a multipart body, kept only as far as their names are known and their sizes allowed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from matteworks_edge.errors import malformed_body

_MAX_HEADERS_A_PART: Final = 16
_MAX_HEADER_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class PartLimits:
    """How many bytes of a part are kept. `refuse` is called with the size of a larger one and raises;
    None: the rest is dropped.
    """

    max_bytes: int
    refuse: Callable[[int], None] | None


class MultipartReader:
    """Fed with chunks as they arrive; memory is bounded by the limits of the parts."""

    def __init__(
        self,
        boundary: bytes,
        limits_of: Callable[[str], PartLimits],
        max_parts: int,
        account_for: Callable[[int], None],
    ) -> None:
        self._limits_of = limits_of
        self._max_parts = max_parts
        self._account_for = account_for
        self._parts: list[tuple[str, list[bytes]]] = []
        self._part_count = 0
        self._is_complete = False
        self._header_name: list[bytes] = []
        self._header_value: list[bytes] = []
        self._disposition = b""
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._limits = PartLimits(0, None)
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": lambda data, start, end: self._header_name.append(data[start:end]),
                "on_header_value": lambda data, start, end: self._header_value.append(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._keep,
                "on_end": self._complete,
            },
            max_header_count=_MAX_HEADERS_A_PART,
            max_header_size=_MAX_HEADER_BYTES,
        )

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. Raises InvalidField (MALFORMED_BODY) and what `refuse` raises."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise malformed_body("The multipart body is malformed.") from error

    def finish(self) -> list[tuple[str, bytes]]:
        """Name and bytes of each part, in order. Raises InvalidField when the end is missing."""
        if not self._is_complete:
            raise malformed_body("The multipart body ends before its closing boundary.")
        return [(name, b"".join(kept)) for name, kept in self._parts]

    def _begin_part(self) -> None:
        self._part_count += 1
        if self._part_count > self._max_parts:
            raise malformed_body(f"Send at most {self._max_parts} fields.")
        self._disposition = b""
        self._kept_bytes = 0

    def _end_header(self) -> None:
        if b"".join(self._header_name).lower() == b"content-disposition":
            self._disposition = b"".join(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if name is None:
            raise malformed_body("A part of the multipart body has no name.")
        self._kept = []
        text = name.decode("utf-8", "replace")
        self._limits = self._limits_of(text)
        self._parts.append((text, self._kept))

    def _keep(self, data: bytes, start: int, end: int) -> None:
        room = self._limits.max_bytes - self._kept_bytes
        size_bytes = end - start
        if size_bytes > room:
            if self._limits.refuse is not None:
                self._limits.refuse(self._kept_bytes + size_bytes)
            size_bytes = max(0, room)
        if size_bytes:
            self._account_for(size_bytes)
            self._kept.append(data[start : start + size_bytes])
            self._kept_bytes += size_bytes

    def _complete(self) -> None:
        self._is_complete = True
