"""Put the vendor's recorded cut-outs beside ours of the same pictures, to look at.

    python -m tools.recordings_sheet --recordings FOLDER --base-url http://127.0.0.1:8080 --key KEY

FOLDER holds what the official Ruby client recorded: `images/`, `vcr_cassettes/` and `zip/`. One row is one
picture: the picture, the vendor's cut-out and ours on a colour that neither has, both mattes, and where
the mattes differ (red: only the vendor keeps it; blue: only we do).
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Bytes8 = NDArray[np.uint8]

TILE_WIDTH_PX, LABEL_HEIGHT_PX, GAP_PX = 420, 20, 6
BACKDROP, PAPER, INK = (60, 170, 90), (255, 255, 255), (0, 0, 0)
REQUEST_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Recorded:
    """A picture, as JPEG, and what the vendor made of it: RGBA of the same size."""

    name: str
    picture: bytes
    cutout: Image.Image


def recorded_cutouts(folder: Path) -> Iterator[Recorded]:
    """Those of which the picture is there too. The cat's is the vendor's own color.jpg, whose edges are
    corrected already; the cassette of an upload by address does not have its picture.
    """
    person = (folder / "images" / "person-in-field.jpg").read_bytes()
    as_png = Image.open(io.BytesIO(_answer_body(folder, "from-file-person-in-field")))
    yield Recorded("person, PNG", person, as_png.convert("RGBA"))
    yield Recorded("person, ZIP", person, composed(_answer_body(folder, "zip-person-in-field")))
    cat = (folder / "zip" / "example-cat.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(cat)) as entries:
        yield Recorded("cat, ZIP", entries.read("color.jpg"), composed(cat))


def composed(archive: bytes) -> Image.Image:
    """The cut-out of a ZIP, RGBA."""
    with zipfile.ZipFile(io.BytesIO(archive)) as entries:
        colour = Image.open(io.BytesIO(entries.read("color.jpg"))).convert("RGB")
        colour.putalpha(Image.open(io.BytesIO(entries.read("alpha.png"))).convert("L"))
    return colour


def our_cutout(recorded: Recorded, client: httpx.Client, *, is_zip: bool) -> Image.Image:
    """The same picture through the running stack, RGBA. Raises httpx.HTTPStatusError."""
    answer = client.post(
        "/v1.0/removebg",
        data={"size": "auto", "format": "zip" if is_zip else "png"},
        files={"image_file": ("picture.jpg", recorded.picture)},
    )
    answer.raise_for_status()
    if is_zip:
        return composed(answer.content)
    return Image.open(io.BytesIO(answer.content)).convert("RGBA")


def row(recorded: Recorded, ours: Image.Image) -> Image.Image:
    """The tiles of one picture, labelled."""
    theirs = recorded.cutout
    if ours.size != theirs.size:
        raise ValueError(f"{recorded.name}: ours is {ours.size}, the vendor's {theirs.size}")
    their_matte, our_matte = (np.asarray(cutout.getchannel("A")) for cutout in (theirs, ours))
    error = np.abs(their_matte.astype(np.int16) - our_matte).mean() / 255
    tiles = {
        recorded.name: Image.open(io.BytesIO(recorded.picture)).convert("RGB"),
        "remove.bg": on_backdrop(theirs),
        "ours": on_backdrop(ours),
        "remove.bg, matte": Image.fromarray(their_matte).convert("RGB"),
        "ours, matte": Image.fromarray(our_matte).convert("RGB"),
        f"difference, mean {error:.4f}": Image.fromarray(difference(their_matte, our_matte)),
    }
    height_px = round(TILE_WIDTH_PX * theirs.height / theirs.width)
    sheet = Image.new("RGB", (len(tiles) * (TILE_WIDTH_PX + GAP_PX), height_px + LABEL_HEIGHT_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (label, tile) in enumerate(tiles.items()):
        left_px = index * (TILE_WIDTH_PX + GAP_PX)
        draw.text((left_px + 2, 4), label, fill=INK)
        shown = tile.resize((TILE_WIDTH_PX, height_px), Image.Resampling.LANCZOS)
        sheet.paste(shown, (left_px, LABEL_HEIGHT_PX))
    return sheet


def on_backdrop(cutout: Image.Image) -> Image.Image:
    """The cut-out on the backdrop, RGB."""
    backdrop = Image.new("RGBA", cutout.size, (*BACKDROP, 255))
    return Image.alpha_composite(backdrop, cutout).convert("RGB")


def difference(theirs: Bytes8, ours: Bytes8) -> Bytes8:
    """White where the mattes agree; red where only theirs keeps, blue where only ours does."""
    signed = theirs.astype(np.int16) - ours
    only_theirs, only_ours = np.clip(signed, 0, 255), np.clip(-signed, 0, 255)
    channels = (255 - only_ours, 255 - only_theirs - only_ours, 255 - only_theirs)
    return np.stack(channels, axis=-1).astype(np.uint8)


def stacked(rows: list[Image.Image]) -> Image.Image:
    """One row under the other."""
    height_px = sum(one.height + GAP_PX for one in rows)
    sheet = Image.new("RGB", (max(one.width for one in rows), height_px), PAPER)
    top_px = 0
    for one in rows:
        sheet.paste(one, (0, top_px))
        top_px += one.height + GAP_PX
    return sheet


def main(arguments: list[str]) -> int:
    """Write the sheet and print where."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--recordings", type=Path, required=True, help="the folder with the recordings")
    parser.add_argument(
        "--base-url", default=os.environ.get("MATTEWORKS_BASE_URL", "http://127.0.0.1:8080"), help="the stack"
    )
    parser.add_argument("--key", default=os.environ.get("MATTEWORKS_API_KEY"), help="an API key of the stack")
    parser.add_argument("--out", type=Path, default=Path("out/recordings.png"))
    options = parser.parse_args(arguments)
    key = options.key or Path(".matteworks/dev-key").read_text().strip()
    with httpx.Client(
        base_url=options.base_url, headers={"X-Api-Key": key}, timeout=REQUEST_TIMEOUT_S
    ) as client:
        rows = [
            row(recorded, our_cutout(recorded, client, is_zip="ZIP" in recorded.name))
            for recorded in recorded_cutouts(options.recordings)
        ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    stacked(rows).save(options.out)
    print(options.out)
    return 0


def _answer_body(folder: Path, cassette: str) -> bytes:
    cassettes = folder / "vcr_cassettes"
    (exchange,) = yaml.safe_load((cassettes / f"{cassette}.yml").read_text())["http_interactions"]
    return (cassettes / "bin_data" / str(exchange["response"]["body"]["bin_key"])).read_bytes()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
