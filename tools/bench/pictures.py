"""One photo at many sizes, so that both sides get equal bytes."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image


def scaled_jpeg(photo: Path, megapixels: float) -> bytes:
    """`photo` scaled to `megapixels` million pixels, JPEG quality 92."""
    with Image.open(photo) as source:
        picture = source.convert("RGB")
    factor = (megapixels * 1e6 / (picture.width * picture.height)) ** 0.5
    size = (round(picture.width * factor), round(picture.height * factor))
    body = io.BytesIO()
    picture.resize(size, Image.Resampling.LANCZOS).save(body, "JPEG", quality=92)
    return body.getvalue()
