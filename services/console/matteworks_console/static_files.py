"""Scripts, styles and pictures of the pages: read once, packed once, under names that change with them."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

_MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
}
_PACKED: Final = (".css", ".js", ".svg")
_FOREVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    packed: bytes | None
    media_type: str


class StaticFiles:
    """The files of the folder `static`. Their path holds a digest, so browsers may keep them."""

    def __init__(self, prefix: str) -> None:
        self._files = dict(_read(files("matteworks_console") / "static", ""))
        digest = hashlib.sha256()
        for name in sorted(self._files):
            digest.update(name.encode() + b"\0" + self._files[name].content)
        self._base = f"{prefix}/{digest.hexdigest()[:12]}"

    def url(self, name: str) -> str:
        """The path of a file. Raises KeyError when there is none of that name."""
        if name not in self._files:
            raise KeyError(name)
        return f"{self._base}/{name}"

    async def __call__(self, request: Request) -> Response:
        """Answer `PREFIX/{version}/{name}`."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        headers = {"Vary": "Accept-Encoding", "Cache-Control": _FOREVER}
        if not request.url.path.startswith(self._base + "/"):
            headers["Cache-Control"] = "no-store"
        content = found.content
        if found.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            content = found.packed
            headers["Content-Encoding"] = "gzip"
        return Response(content, media_type=found.media_type, headers=headers)


def _read(folder: Traversable, prefix: str) -> list[tuple[str, _File]]:
    found = []
    for entry in folder.iterdir():
        name = prefix + entry.name
        suffix = "." + entry.name.rpartition(".")[2]
        if entry.is_dir():
            found += _read(entry, name + "/")
        elif suffix in _MEDIA_TYPES:
            content = entry.read_bytes()
            packed = gzip.compress(content, mtime=0) if suffix in _PACKED else None
            found.append((name, _File(content, packed, _MEDIA_TYPES[suffix])))
    return found
