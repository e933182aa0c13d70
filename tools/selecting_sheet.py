"""Draw what Select and ListSubjects make of a picture, to look at.

    python -m tools.selecting_sheet PICTURE --models-dir DIR --inside X Y --outside X Y --out FILE.webp

From left to right: the picture with the boxes of its subjects, the point inside (a green dot) and the one
outside (a red dot); the first subject; the first subject with the point inside added; the first subject with
the point outside taken away. Starts a stack of its own and asks it through Envoy.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

from matteworks_client import AsyncMatteworksClient
from matteworks_deploy.local.options import StackOptions
from matteworks_deploy.local.stack import running_stack

TILE_PX, GAP_PX, SQUARE_PX = 320, 8, 16
GREEN, RED, PINK = (0, 190, 60), (225, 20, 20), (255, 0, 200)


async def draw(
    picture: Path, models: Path, inside: tuple[float, float], outside: tuple[float, float]
) -> Image.Image:
    """The tiles beside each other."""
    with tempfile.TemporaryDirectory() as state:
        options = StackOptions(host="127.0.0.1", port=0, state_directory=Path(state), models_directory=models)
        async with (
            running_stack(options, os.environ, lambda _name, _line: None) as stack,
            AsyncMatteworksClient(stack.internal_target) as client,
        ):
            subjects = await client.list_subjects(picture)
            cut_outs = [
                (await client.select(picture, *points, subjects=[1])).cutout.image
                for points in (((), ()), ([inside], ()), ((), [outside]))
            ]
    with Image.open(picture) as photo:
        marked = photo.convert("RGB")
    pen = ImageDraw.Draw(marked)
    width = max(2, marked.width // 200)
    for subject in subjects:
        box = subject.box
        corners = (box.left_px, box.top_px, box.left_px + box.width_px, box.top_px + box.height_px)
        pen.rectangle(corners, outline=PINK, width=width)
        pen.text(
            (corners[0] + 2 * width, corners[1] + width), str(subject.number), PINK, font_size=10 * width
        )
    for (x, y), colour in ((inside, GREEN), (outside, RED)):
        pen.ellipse((x - 3 * width, y - 3 * width, x + 3 * width, y + 3 * width), fill=colour)
    tiles = [marked, *(on_squares(content) for content in cut_outs)]
    sheet = Image.new("RGB", (len(tiles) * (TILE_PX + GAP_PX) - GAP_PX, TILE_PX), "white")
    for number, tile in enumerate(tiles):
        tile.thumbnail((TILE_PX, TILE_PX), Image.Resampling.LANCZOS)
        sheet.paste(tile, (number * (TILE_PX + GAP_PX), 0))
    return sheet


def on_squares(content: bytes) -> Image.Image:
    """A cut-out on a chequered ground."""
    with Image.open(io.BytesIO(content)) as opened:
        cut_out = opened.convert("RGBA")
    ground = Image.new("RGBA", cut_out.size, "white")
    pen = ImageDraw.Draw(ground)
    for top in range(0, cut_out.height, SQUARE_PX):
        for left in range((top // SQUARE_PX % 2) * SQUARE_PX, cut_out.width, 2 * SQUARE_PX):
            pen.rectangle((left, top, left + SQUARE_PX - 1, top + SQUARE_PX - 1), fill=(205, 205, 205))
    ground.alpha_composite(cut_out)
    return ground.convert("RGB")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", type=Path)
    parser.add_argument("--models-dir", type=Path, required=True)
    parser.add_argument("--inside", type=float, nargs=2, required=True)
    parser.add_argument("--outside", type=float, nargs=2, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    sheet = asyncio.run(
        draw(arguments.picture, arguments.models_dir, tuple(arguments.inside), tuple(arguments.outside))
    )
    sheet.save(arguments.out, "WEBP", quality=88, method=6)
    return 0


if __name__ == "__main__":
    sys.exit(main())
