"""What the strictest clients do with an answer, restated: each raises where its original would fail."""

from __future__ import annotations

import io
import struct
import zipfile

import httpx
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read_account_like_ruby(document: dict[str, dict[str, dict[str, dict[str, float]]]]) -> dict[str, float]:
    """The gem hands the members to keyword arguments: one too many or too few raises."""

    def api(*, free_calls: int, sizes: str) -> dict[str, float]:
        if not isinstance(free_calls, int) or sizes != "all":
            raise TypeError(f"{free_calls!r} and {sizes!r}")
        return {"free_calls": free_calls}

    def balances(*, total: float, subscription: float, payg: float, enterprise: float) -> dict[str, float]:
        if abs(subscription + payg + enterprise - total) > 1e-9:
            raise ValueError("the total is not the sum")
        return {"total": total}

    attributes = document["data"]["attributes"]
    return {**api(**attributes["api"]), **balances(**attributes["credits"])}  # type: ignore[arg-type]


def read_error_like_php(answer: httpx.Response) -> str:
    """The package joins the values of the first error, in their order, for people to read."""
    return " - ".join(answer.json()["errors"][0].values())


def read_error_like_ruby(answer: httpx.Response) -> tuple[str, str]:
    """Title and code of the first error; a document without errors raises."""
    first = answer.json()["errors"][0]
    return first["title"], first["code"]


def read_facts_like_swift(answer: httpx.Response) -> dict[str, int]:
    """Sizes and the box as integers: a fraction raises."""
    names = ("Width", "Height", "Foreground-Top", "Foreground-Left", "Foreground-Width", "Foreground-Height")
    return {name: int(answer.headers[f"X-{name}"]) for name in names}


def compose_like_go(archive: bytes) -> tuple[Image.Image, Image.Image]:
    """color.jpg and alpha.png; the decoded alpha must be grey of 8 bits without a transparency chunk."""
    with zipfile.ZipFile(io.BytesIO(archive)) as entries:
        colour_bytes, alpha_bytes = entries.read("color.jpg"), entries.read("alpha.png")
    depth, colour_type = png_header(alpha_bytes)
    if (depth, colour_type) != (8, 0) or b"tRNS" in png_chunks(alpha_bytes):
        raise TypeError(f"alpha.png is not image.Gray: {depth} bits, colour type {colour_type}")
    colour, alpha = Image.open(io.BytesIO(colour_bytes)), Image.open(io.BytesIO(alpha_bytes))
    colour.load()
    alpha.load()
    return colour, alpha


def png_header(png: bytes) -> tuple[int, int]:
    """Bit depth and colour type."""
    if not png.startswith(PNG_SIGNATURE):
        raise ValueError("not a PNG")
    return png[24], png[25]


def png_chunks(png: bytes) -> list[bytes]:
    """Chunk types, in order."""
    at, types = len(PNG_SIGNATURE), []
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        types.append(png[at + 4 : at + 8])
        at += 12 + length
    return types
