"""Draw a part of a picture four times as large: by a Lanczos window, and as Upscale makes it.

    python -m tools.upscaling_sheet PICTURE --models DIR --part LEFT TOP WIDTH HEIGHT --out FILE.webp

`--part` is in pixels. It goes through the compositor's own editor with the network in this process: the sheet
shows what a caller gets.
"""

from __future__ import annotations

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from matteworks_compositor.upscaling_client import FACTOR
from matteworks_imaging.encoding import encode_webp
from tools.evaluate_upscaling import LARGE, Network, editor, enlarged

GAP_PX = 8


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", type=Path)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--part", type=int, nargs=4, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    left, top, width, height = arguments.part
    part = Image.open(arguments.picture).convert("RGB").crop((left, top, left + width, top + height))
    with ThreadPoolExecutor(1) as executor:
        enlarger = editor(Network(arguments.models), executor, LARGE)
        ours = asyncio.run(enlarged(enlarger, part, FACTOR))
    plain = np.asarray(part.resize((FACTOR * width, FACTOR * height), Image.Resampling.LANCZOS))
    gap = np.full((FACTOR * height, GAP_PX, 3), 255, np.uint8)
    arguments.out.write_bytes(encode_webp(np.hstack([plain, gap, ours]), 90))


if __name__ == "__main__":
    main()
