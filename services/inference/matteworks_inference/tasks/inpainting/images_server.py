"""A server that speaks OpenAI's `POST images/edits`: OpenAI's own, LocalAI, or a gateway in front of others.

It gets the part and a mask as PNG files of equal size, transparent where it is to paint, and answers with
one picture of that size, in base64 or by URL.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import cv2
import numpy as np
import structlog
from pydantic import SecretStr

from matteworks_common.errors import InvalidField, InvalidPicture, MatteworksError
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.limits import admit_file
from matteworks_inference.picture import PixelArray
from matteworks_inference.tasks.inpainting.fitting import Fitted, fit
from matteworks_inference.tasks.inpainting.painter import Hole, painter_failed
from matteworks_outbound.named_server import Answer, NamedServer, Part, ServerFailed, multipart_body

__all__ = ["ImagesServer", "PaintOptions"]

T = TypeVar("T")
_PATH: Final = "/images/edits"
# A PNG of noise has four bytes a pixel, base64 a third more; the rest is room for what stands around it.
_ANSWER_BYTES_A_PIXEL: Final = 8
_ANSWER_BYTES: Final = 1024 * 1024
# What is asked for without words, of servers that demand a prompt.
_NO_WORDS: Final = "Continue the surroundings. Add nothing."
# Codes by which servers refuse what a prompt asks for.
_REFUSALS: Final = frozenset({"content_policy_violation", "moderation_blocked", "content_filter"})
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class PaintOptions:
    """`model` may be empty. `sizes_px` are (width, height)."""

    model: str
    key: SecretStr
    sizes_px: Sequence[tuple[int, int]]


class ImagesServer:
    """See `Painter`. `workers` run what computes. Closes `server`."""

    def __init__(
        self, server: NamedServer, options: PaintOptions, decoder: Decoder, workers: Executor
    ) -> None:
        self._server = server
        self._options = options
        self._decoder = decoder
        self._workers = workers

    @property
    def name(self) -> str:
        """The model, or what kind of server it is."""
        return self._options.model or "images/edits"

    async def paint(self, hole: Hole, timeout_s: float) -> PixelArray:
        """See `Painter`."""
        async with asyncio.timeout(timeout_s):
            fitted, content_type, body = await self._run(lambda: self._request(hole))
            headers = {"Content-Type": content_type, "Accept": "application/json"}
            if key := self._options.key.get_secret_value():
                headers["Authorization"] = f"Bearer {key}"
            most = _ANSWER_BYTES + _ANSWER_BYTES_A_PIXEL * fitted.size.pixel_count
            try:
                answer = await self._server.post(_PATH, headers, body, timeout_s=timeout_s, max_bytes=most)
                if answer.status != 200:
                    raise _refusal(answer)
                picture = await self._run(lambda: _read_answer(answer.body))
                if isinstance(picture, str):
                    picture = await self._server.fetch(picture, timeout_s=timeout_s, max_bytes=most)
            except ServerFailed as error:
                raise painter_failed(str(error)) from error
            content = picture
            return await self._run(lambda: self._pixels(content, fitted))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._server.aclose()

    def _request(self, hole: Hole) -> tuple[Fitted, str, bytes]:
        fitted = fit(hole, self._options.sizes_px)
        shown, size = fitted.hole, fitted.size
        fields = {
            "prompt": hole.prompt or _NO_WORDS,
            "n": "1",
            "size": f"{size.width_px}x{size.height_px}",
        }
        if self._options.model:
            fields["model"] = self._options.model
        opaque = np.full(shown.mask.shape, 255, np.uint8)
        clear = np.asarray(cv2.bitwise_not(shown.mask), np.uint8)
        content_type, body = multipart_body(
            [
                *(Part(name, text.encode()) for name, text in fields.items()),
                Part("image", _png(shown.pixels, opaque), "image.png", "image/png"),
                Part("mask", _png(shown.pixels, clear), "mask.png", "image/png"),
            ]
        )
        return fitted, content_type, body

    def _pixels(self, content: bytes, fitted: Fitted) -> PixelArray:
        """The painted part. The file's header is judged before a pixel of it is decoded."""
        try:
            file = admit_file(content)
            if file.size != fitted.size:
                raise painter_failed(
                    f"it answered {file.size.width_px} × {file.size.height_px} pixels, not "
                    f"{fitted.size.width_px} × {fitted.size.height_px}"
                )
            decoded = self._decoder.decode(file)
        except InvalidPicture as error:
            raise painter_failed("what it answered is no picture that can be read") from error
        return fitted.take_back(decoded.pixels)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)


def _png(pixels: PixelArray, alpha: PixelArray) -> bytes:
    red, green, blue = cv2.split(pixels)
    is_packed, packed = cv2.imencode(".png", cv2.merge((blue, green, red, alpha)))
    if not is_packed:
        raise AssertionError("a PNG can be made of any pixels")
    return packed.tobytes()


def _read_answer(body: bytes) -> bytes | str:
    """The picture's file, or its URL."""
    try:
        first: Any = json.loads(body)["data"][0]
        encoded, url = first.get("b64_json"), first.get("url")
        if isinstance(encoded, str) and encoded:
            return base64.b64decode(encoded, validate=True)
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
        binascii.Error,
    ) as error:
        raise ServerFailed("what it answered is not OpenAI's form") from error
    if isinstance(url, str) and url:
        return url
    raise ServerFailed("it answered without a picture")


def _refusal(answer: Answer) -> MatteworksError:
    """What a status that is not 200 means to the caller. What the server says may quote our key: only its
    code is told and logged.
    """
    code = ""
    try:
        error: Any = json.loads(answer.body)["error"]
        code = str(error.get("code") or error.get("type") or "")[:64]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    log.warning("painter_refused", status=answer.status, code=code)
    if code in _REFUSALS:
        return InvalidField("prompt", "The generative server refuses to paint this. Change the prompt.")
    return painter_failed(f"it answered with status {answer.status}")
