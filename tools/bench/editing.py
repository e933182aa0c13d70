"""How long the editing tools take, by the size of the picture, against a running stack.

    python -m tools.bench.editing --target HOST:PORT --photo a-large-photo.jpg

`brush` is a second stroke: the matte of the first comes with it. Medians of five, through Envoy's internal
listener, encoding and the message included.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from matteworks_client import MatteworksClient, Stroke

MEGAPIXELS: Final = (2, 10, 25)
ROUNDS: Final = 5


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", required=True, help="the internal listener of a running stack")
    parser.add_argument("--photo", type=Path, required=True)
    arguments = parser.parse_args()
    print("| tool | " + " | ".join(f"{count} MP" for count in MEGAPIXELS) + " |")
    print("|---" * (len(MEGAPIXELS) + 1) + "|")
    rows: dict[str, list[str]] = {}
    with MatteworksClient(arguments.target, timeout_s=120) as client:
        for count in MEGAPIXELS:
            photo, mask, size = enlarged(arguments.photo, count)
            middle = (size[0] / 2, size[1] / 2)
            stroke = Stroke("erase", [middle, (size[0] / 2 + 100, size[1] / 2 + 60)], 40)
            matte = client.correct(photo, [stroke]).matte
            tools: dict[str, Callable[[], object]] = {
                "brush": lambda: client.correct(photo, [stroke], matte=matte),  # noqa: B023 - called below
                "crop to a box": lambda: client.crop(photo, box=(0, 0, "50%", "50%")),  # noqa: B023
                "erase 2 %": lambda: client.erase(photo, mask),  # noqa: B023
                "list subjects": lambda: client.list_subjects(photo),  # noqa: B023
                "select by a point": lambda: client.select(photo, [middle]),  # noqa: B023
                "select each subject": lambda: client.select_each(photo),  # noqa: B023
                "expand one side": lambda: client.expand(photo, borders_px=(0, 0, 0, 200)),  # noqa: B023
            }
            for name, work in tools.items():
                rows.setdefault(name, []).append(f"{median_s(work):.2f} s")
    for name, times in rows.items():
        print(f"| {name} | " + " | ".join(times) + " |")
    return 0


def median_s(work: Callable[[], object]) -> float:
    """Of ROUNDS runs."""
    times = []
    for _ in range(ROUNDS):
        start_s = time.perf_counter()
        work()
        times.append(time.perf_counter() - start_s)
    return statistics.median(times)


def enlarged(path: Path, megapixels: int) -> tuple[bytes, bytes, tuple[int, int]]:
    """The photo as a JPEG of that size, a mask over 2 % of it, and its size."""
    with Image.open(path) as photo:
        factor = (megapixels * 1e6 / (photo.width * photo.height)) ** 0.5
        size = (round(photo.width * factor), round(photo.height * factor))
        larger = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    mask = Image.new("L", size)
    side = (0.02 * size[0] * size[1]) ** 0.5
    ImageDraw.Draw(mask).rectangle((20, 20, 20 + side, 20 + side), fill=255)
    return encoded(larger, "JPEG"), encoded(mask, "PNG"), size


def encoded(picture: Image.Image, kind: str) -> bytes:
    """A file of it."""
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
