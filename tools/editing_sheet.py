"""Render what the editing tools make of pictures to one file, to look at.

    python -m tools.editing_sheet PICTURE... --out editing.png

Each row: the picture with a part marked, that part erased, the picture expanded on each side (`--expand` in
percent; 0 leaves it out), and cropped to a square; then a stroke across it, and what a brush along that
stroke erases. It goes through the compositor's own editor, so the sheet shows what a caller gets. The part is
an ellipse in the middle unless `--erase LEFT TOP RIGHT BOTTOM` says otherwise, in percent.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_common.channels import open_channel
from matteworks_common.clock import SystemClock
from matteworks_common.settings import MEBIBYTE
from matteworks_common.stages import Stages
from matteworks_compositor.admission import Admission
from matteworks_compositor.editing.editor import Editor, EditOutput
from matteworks_compositor.geometry import Margins
from matteworks_compositor.inference_client import InferenceClient, MatteSource, Segmentation
from matteworks_compositor.kernels.pointing.strokes import Stroke, StrokeKind, apply_stroke
from matteworks_compositor.options.model import OutputFormat, Quality, SubjectType
from matteworks_imaging.box import Box, Size
from matteworks_imaging.decoding import Decoder, configure_libvips
from matteworks_imaging.encoding import encode_lossless_webp, encode_png
from matteworks_imaging.limits import admit_file
from matteworks_imaging.resampling import array_size, resize

Bytes8 = NDArray[np.uint8]

TILE_PX, GAP_PX = 320, 8
MARK = (255, 0, 200)
THREADS = 2
LARGE = 1 << 30
INFERENCE_TIMEOUT_S = 60.0


class MiddleIsSubject:
    """Stands in for the networks where no inference service is given: the middle is the subject."""

    async def segment(
        self,
        pixels: Bytes8,
        *,
        source_size: Size,
        model: str,
        quality: Quality,
        subject_type: SubjectType,
    ) -> Segmentation:
        height, width = pixels.shape[:2]
        matte = np.zeros((height, width), np.uint8)
        matte[height // 8 : -height // 8, width // 6 : -width // 6] = 255
        return Segmentation(matte, SubjectType.UNSPECIFIED, 0.0, "")


async def row(editor: Editor, path: Path, percents: list[float], expand: float) -> list[Bytes8]:
    """The tiles of one picture."""
    decoder, file = Decoder(), admit_file(path.read_bytes())
    whole = decoder.decode(file).pixels
    height, width = whole.shape[:2]
    left, right = (round(width * value / 100) for value in percents[::2])
    top, bottom = (round(height * value / 100) for value in percents[1::2])
    hole = np.zeros((height, width), np.uint8)
    axes = ((right - left) // 2, (bottom - top) // 2)
    cv2.ellipse(hole, ((left + right) // 2, (top + bottom) // 2), axes, 0, 0, 360, (255,), -1)
    marked = whole.copy()
    marked[hole > 0] = (marked[hole > 0] * 0.4 + np.array(MARK) * 0.6).astype(np.uint8)
    output = EditOutput(OutputFormat.PNG)
    start_s = time.perf_counter()
    erased = await editor.erase(file, admit_file(encode_png(hole)), output, Stages())
    erased_s = time.perf_counter() - start_s
    results = [erased]
    if expand:
        down, across = round(height * expand / 100), round(width * expand / 100)
        results.append(await editor.expand(file, Margins(down, across, down, across), output, Stages()))
    expanded_s = time.perf_counter() - start_s - erased_s
    side = min(width, height)
    square = Box((width - side) // 2, (height - side) // 2, side, side)
    results.append(await editor.crop(file, square, output, Stages()))
    print(f"{path.name}: {width * height / 1e6:.2f} MP, erase {erased_s:.1f} s, expand {expanded_s:.1f} s")
    pictures = [decoder.decode(admit_file(edited.content)).pixels for edited in results]
    return [tile(pixels) for pixels in (marked, *pictures, *brushed(whole))]


def brushed(whole: Bytes8) -> tuple[Bytes8, Bytes8]:
    """A stroke down the left third of the picture, and the picture without what it takes away."""
    height, width = whole.shape[:2]
    radius_px = width / 14
    points = [(width * x, height * y) for x, y in ((0.1, 0.12), (0.13, 0.35), (0.16, 0.6))]
    drawn = whole.copy()
    line = np.array(points, np.int32).reshape(-1, 1, 2)
    cv2.polylines(drawn, [line], isClosed=False, color=MARK, thickness=round(2 * radius_px))
    drawn = cv2.addWeighted(whole, 0.4, drawn, 0.6, 0).astype(np.uint8)
    matte = np.full((height, width), 255, np.uint8)
    apply_stroke(whole, matte, None, Stroke(StrokeKind.ERASE, points, radius_px))
    squares = np.indices((height, width)) // max(1, width // 32)
    board = np.where(squares.sum(axis=0) % 2 == 0, 255, 205).astype(np.uint8)[..., None]
    share = matte[..., None] / 255
    return drawn, np.rint(whole * share + board * (1 - share)).astype(np.uint8)


def tile(pixels: Bytes8) -> Bytes8:
    """The whole picture in the middle of a white square."""
    size = array_size(pixels)
    scale = TILE_PX / size.longer_side_px
    small = resize(pixels, Size(max(1, round(size.width_px * scale)), max(1, round(size.height_px * scale))))
    square = np.full((TILE_PX, TILE_PX, 3), 255, np.uint8)
    top, left = (TILE_PX - small.shape[0]) // 2, (TILE_PX - small.shape[1]) // 2
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    return square


async def draw(paths: list[Path], percents: list[float], expand: float, inference: str | None) -> Bytes8:
    """All rows, below each other."""
    async with AsyncExitStack() as opened:
        executor = opened.enter_context(ThreadPoolExecutor(THREADS))
        mattes: MatteSource = MiddleIsSubject()
        if inference:
            channel = await opened.enter_async_context(open_channel(inference, 96 * MEBIBYTE))
            mattes = InferenceClient(channel, INFERENCE_TIMEOUT_S)
        admission = Admission(LARGE, LARGE, SystemClock())
        editor = Editor(Decoder(), mattes, executor, admission, threads=THREADS, max_result_bytes=LARGE)
        rows = [await row(editor, path, percents, expand) for path in paths]
    sheet = np.full(
        (len(rows) * (TILE_PX + GAP_PX) - GAP_PX, len(rows[0]) * (TILE_PX + GAP_PX) - GAP_PX, 3),
        255,
        np.uint8,
    )
    for down, tiles in enumerate(rows):
        for across, pixels in enumerate(tiles):
            top, left = down * (TILE_PX + GAP_PX), across * (TILE_PX + GAP_PX)
            sheet[top : top + TILE_PX, left : left + TILE_PX] = pixels
    return sheet


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--erase", type=float, nargs=4, default=[40, 40, 60, 60], metavar="PERCENT")
    parser.add_argument("--expand", type=float, default=33, metavar="PERCENT")
    parser.add_argument("--inference", help="host:port of a running inference service; else a guess")
    parser.add_argument("--out", type=Path, required=True, help="a .png or .webp file")
    arguments = parser.parse_args()
    configure_libvips(THREADS)
    sheet = asyncio.run(draw(arguments.pictures, arguments.erase, arguments.expand, arguments.inference))
    encode = encode_lossless_webp if arguments.out.suffix == ".webp" else encode_png
    arguments.out.write_bytes(encode(sheet))
    return 0


if __name__ == "__main__":
    sys.exit(main())
