"""What the file types of results are called in `Content-Type`."""

from __future__ import annotations

from typing import Final

from matteworks.compositor.v1 import compositor_pb2

CONTENT_TYPES: Final = {
    compositor_pb2.OUTPUT_FORMAT_PNG: "image/png",
    compositor_pb2.OUTPUT_FORMAT_JPEG: "image/jpeg",
    compositor_pb2.OUTPUT_FORMAT_WEBP: "image/webp",
    compositor_pb2.OUTPUT_FORMAT_ZIP: "application/zip",
    compositor_pb2.OUTPUT_FORMAT_WEBP_LOSSLESS: "image/webp",
    compositor_pb2.OUTPUT_FORMAT_AVIF: "image/avif",
    compositor_pb2.OUTPUT_FORMAT_TIFF: "image/tiff",
    compositor_pb2.OUTPUT_FORMAT_BMP: "image/bmp",
    compositor_pb2.OUTPUT_FORMAT_GIF: "image/gif",
}
