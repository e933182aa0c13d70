"""Several results of one removal as one answer: a ZIP, parts, JSON, or signed URLs."""

from __future__ import annotations

import base64
import io
import json
import secrets
import zipfile
from collections.abc import Sequence
from typing import Any, Final

from matteworks.compositor.v1 import compositor_pb2
from matteworks.jobs.v1 import removal_pb2
from matteworks_edge.fields.outputs import Packing
from matteworks_edge.intake.accept import accepts, prefers_json
from matteworks_edge.responses import JSON_TYPE
from matteworks_removal.content_types import CONTENT_TYPES
from matteworks_removal.service import Removal

__all__ = ["packed", "packing_for", "renderings_of"]

_SUFFIXES: Final = {
    compositor_pb2.OUTPUT_FORMAT_PNG: "png",
    compositor_pb2.OUTPUT_FORMAT_JPEG: "jpg",
    compositor_pb2.OUTPUT_FORMAT_WEBP: "webp",
    compositor_pb2.OUTPUT_FORMAT_WEBP_LOSSLESS: "webp",
    compositor_pb2.OUTPUT_FORMAT_AVIF: "avif",
    compositor_pb2.OUTPUT_FORMAT_ZIP: "zip",
}
# Equal results make equal archives. The first day that the format can tell.
_NO_DATE: Final = (1980, 1, 1, 0, 0, 0)


def packing_for(asked: Packing | None, accept: str | None) -> Packing:
    """What was asked for, else what the Accept header prefers, else a ZIP."""
    if asked is not None:
        return asked
    if accepts(accept, "multipart/mixed"):
        return "multipart"
    return "json" if prefers_json(accept) else "zip"


def renderings_of(response: compositor_pb2.RemoveBackgroundResponse) -> list[compositor_pb2.Rendering]:
    """Every result, in the order in which they were asked for."""
    return [response.rendering, *response.more_renderings]


def packed(
    packing: Packing, removal: Removal, names: Sequence[str], stored: Sequence[removal_pb2.StoredResult]
) -> tuple[bytes, str]:
    """Body and media type. `stored` has the results' URLs where these are told."""
    results = list(zip(names, renderings_of(removal.response), strict=True))
    if packing == "zip":
        return _zipped(results), "application/zip"
    if packing == "multipart":
        return _parts(results)
    entries = []
    for index, (name, rendering) in enumerate(results):
        entry: dict[str, Any] = {
            "name": name,
            "content_type": CONTENT_TYPES[rendering.format],
            "width": rendering.size.width_px,
            "height": rendering.size.height_px,
        }
        if packing == "urls":
            entry["url"] = stored[index].url
            entry["result_id"] = stored[index].result_id
            entry["expires_at"] = stored[index].url_expire_time.ToJsonString()
        else:
            entry["result_b64"] = base64.b64encode(rendering.image).decode()
        entries.append(entry)
    box = removal.response.rendering.foreground
    document = {
        "data": {
            "outputs": entries,
            "foreground_top": box.top_px,
            "foreground_left": box.left_px,
            "foreground_width": box.width_px,
            "foreground_height": box.height_px,
        }
    }
    return json.dumps(document, separators=(",", ":")).encode(), JSON_TYPE


def _file_name(name: str, rendering: compositor_pb2.Rendering) -> str:
    return f"{name}.{_SUFFIXES[rendering.format]}"


def _zipped(results: Sequence[tuple[str, compositor_pb2.Rendering]]) -> bytes:
    """Stored, not packed: pictures do not get smaller."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, rendering in results:
            entry = zipfile.ZipInfo(_file_name(name, rendering), _NO_DATE)
            # Made on Unix, with these rights.
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, rendering.image)
    return buffer.getvalue()


def _parts(results: Sequence[tuple[str, compositor_pb2.Rendering]]) -> tuple[bytes, str]:
    boundary = f"matteworks-{secrets.token_hex(16)}"
    pieces: list[bytes] = []
    for name, rendering in results:
        head = (
            f"--{boundary}\r\n"
            f"Content-Type: {CONTENT_TYPES[rendering.format]}\r\n"
            f'Content-Disposition: attachment; name="{name}"; filename="{_file_name(name, rendering)}"\r\n'
            f"Content-Length: {len(rendering.image)}\r\n"
            f"X-Width: {rendering.size.width_px}\r\nX-Height: {rendering.size.height_px}\r\n\r\n"
        )
        pieces += [head.encode(), rendering.image, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces), f"multipart/mixed; boundary={boundary}"
