"""The pictures that the cases send, drawn by code. Each is salted with the case's name, so that no two
cases send equal bytes: an equal upload within seconds would share the first one's charge.
"""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageFilter

# Written by a phone's encoder, which no library here has.
HEIC = Path(__file__).parents[1] / "unit" / "imaging" / "files" / "turned.heic"
BALL_COLOUR = (200, 40, 40)


def picture(name: str, salt: str) -> bytes:
    """The file that a case names.

    `ball WIDTHxHEIGHT [FORMAT] [orientation=N]` is a red ball, a third of the frame high, left of and
    above the middle, on light grey; the other names are files that must be refused or handled with care.
    """
    kind, *words = name.split()
    if kind == "ball":
        size = words[0] if words else "640x480"
        file_format = next((word for word in words[1:] if "=" not in word), "jpeg")
        options = dict(word.split("=") for word in words[1:] if "=" in word)
        width, height = map(int, size.split("x"))
        return _salted(_ball_file(width, height, file_format, int(options.get("orientation", 1))), salt)
    return {
        "blank": lambda: _salted(_encode(Image.new("RGB", (320, 240), (250, 250, 250)), "jpeg"), salt),
        "not-a-picture": lambda: b"this is no picture, " + salt.encode(),
        "empty": lambda: b"",
        "truncated": lambda: _ball_file(640, 480, "jpeg", 1)[:3000],
        "gif": lambda: _encode(_ball(64, 64), "gif"),
        "mp4": lambda: b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + salt.encode(),
        "svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        "no-dimensions": lambda: b"\xff\xd8\xff\xe0\x00\x04AB\xff\xd9",
        "fifty-one-megapixels": lambda: _flat_png(10_000, 5_100),
        "too-large": lambda: _ball_file(64, 48, "jpeg", 1) + b"\0" * (22 * 1024 * 1024),
        "above-25-mb": lambda: _ball_file(64, 48, "jpeg", 1) + b"\0" * (25 * 1024 * 1024),
        "heic": lambda: HEIC.read_bytes(),
        "alpha": lambda: _salted(_half_transparent(), salt),
        "grey": lambda: _salted(_encode(_ball(640, 480).convert("L"), "png"), salt),
        "palette": lambda: _salted(_encode(_ball(640, 480).quantize(64), "png"), salt),
        "cmyk": lambda: _salted(_encode(_ball(640, 480).convert("CMYK"), "jpeg"), salt),
        "icc": lambda: _salted(_with_profile(), salt),
    }[kind]()


def background_picture(width: int, height: int) -> bytes:
    """Blue on the left half, green on the right."""
    image = Image.new("RGB", (width, height), (0, 0, 255))
    image.paste((0, 255, 0), (width // 2, 0, width, height))
    return _encode(image, "png")


@cache
def _ball(width: int, height: int) -> Image.Image:
    scale = 2
    base = Image.new("RGB", (width * scale, height * scale), (222, 224, 228))
    draw = ImageDraw.Draw(base)
    radius = height * scale // 3
    cx, cy = int(width * scale * 0.45), int(height * scale * 0.45)
    for step in range(40):
        r = radius * (1 - step / 60)
        shade = tuple(min(255, int(c * (0.65 + step / 60))) for c in BALL_COLOUR)
        ox, oy = cx - step * radius // 140, cy - step * radius // 140
        draw.ellipse((ox - r, oy - r, ox + r, oy + r), fill=shade)
    return base.resize((width, height), Image.Resampling.LANCZOS).filter(ImageFilter.GaussianBlur(0.5))


@cache
def _ball_file(width: int, height: int, file_format: str, orientation: int) -> bytes:
    return _encode(_ball(width, height), file_format, orientation)


def _encode(image: Image.Image, file_format: str, orientation: int = 1) -> bytes:
    body = io.BytesIO()
    options: dict[str, object] = {"quality": 92} if file_format in ("jpeg", "webp") else {}
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    image.save(body, file_format, **options)
    return body.getvalue()


def _half_transparent() -> bytes:
    image = _ball(640, 480).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 640, 120))
    return _encode(image, "png")


def _with_profile() -> bytes:
    body = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    _ball(640, 480).save(body, "jpeg", quality=92, icc_profile=profile)
    return body.getvalue()


def _flat_png(width: int, height: int) -> bytes:
    """A valid one-bit PNG of one colour: few bytes, many pixels."""
    row = bytes(1 + width // 8)
    data = zlib.compress(row * height, 9)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, body) for kind, body in ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _salted(body: bytes, salt: str) -> bytes:
    """`body` with `salt` where decoders ignore it."""
    text = salt.encode()[:60_000]
    if body.startswith(b"\xff\xd8"):
        return body[:2] + b"\xff\xfe" + struct.pack(">H", len(text) + 2) + text + body[2:]
    if body.startswith(b"\x89PNG"):
        return body[:33] + _chunk(b"tEXt", b"Comment\0" + text) + body[33:]
    if body.startswith(b"RIFF"):
        padded = text + b"\0" * (len(text) % 2)
        chunk = b"SALT" + struct.pack("<I", len(text)) + padded
        return b"RIFF" + struct.pack("<I", len(body) - 8 + len(chunk)) + body[8:] + chunk
    return body


def pixel_at(image: Image.Image, x_percent: float, y_percent: float) -> tuple[int, ...]:
    """The pixel at a share of the sides."""
    x = min(image.width - 1, int(image.width * x_percent / 100))
    y = min(image.height - 1, int(image.height * y_percent / 100))
    return tuple(int(value) for value in np.atleast_1d(np.asarray(image)[y, x]))
