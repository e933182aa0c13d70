"""What each REST tool does with a picture of 25 megapixels: answer, time, charge and memory.

python -m tools.bench.large_edits --photo PHOTO [--megapixels 25]

One call at a time against a stack of its own. Peaks are as in tools/bench/large.py. Exit status 1 when a tool
answers neither with success nor with an error that says what to do.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path

import httpx
from PIL import Image

from tools.bench.large import PROCESSES, measure
from tools.bench.pictures import scaled_jpeg
from tools.bench.servers import Server, our_stack


def calls(width: int, height: int) -> dict[str, tuple[str, dict[str, str], bool]]:
    """By name: path, fields, and whether a mask goes with them."""
    stroke = json.dumps(
        [{"points": [[width // 2, height // 2], [width // 2 + 400, height // 2]], "radius": 80}]
    )
    outputs = json.dumps(
        [
            {"name": "full"},
            {"name": "thumb", "format": "jpg", "max_side": 512},
            {"name": "mask", "channels": "alpha"},
        ]
    )
    return {
        "removal": ("/api/tools/bg-removal", {}, False),
        "three outputs": ("/v1.0/removebg", {"size": "full", "outputs": outputs}, False),
        "crop": ("/api/tools/crop", {"x": "10%", "y": "10%", "width": "50%", "height": "50%"}, False),
        "fill": ("/api/tools/generative-fill", {}, True),
        "expand": ("/api/tools/generative-expand", {"right": "400"}, False),
        "select": ("/api/tools/magic-select", {"points": f"[[{width // 2}, {height // 2}, 1]]"}, False),
        "brush": ("/api/tools/brush", {"strokes": stroke}, False),
        "cleanup": ("/cleanup/v1", {}, True),
        "uncrop": ("/uncrop/v1", {"extend_right": "400"}, False),
    }


def mask_of(width: int, height: int) -> bytes:
    """A white box in the middle, 2 % of the picture."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (width * 43 // 100, height * 43 // 100, width * 57 // 100, height * 57 // 100))
    body = io.BytesIO()
    mask.save(body, "png")
    return body.getvalue()


def ask(
    server: Server, path: str, fields: dict[str, str], files: dict[str, bytes]
) -> tuple[httpx.Response, str]:
    """The answer, and its cells in the table."""
    named = {name: (name, content) for name, content in files.items()}
    seconds, answer, grown = measure(server, path, fields, named)
    mebibytes = [grown[name] >> 20 for name in PROCESSES]
    charged = answer.headers.get("x-credits-charged")
    return answer, f"{answer.status_code} | {charged} | {seconds:.1f} | " + " | ".join(map(str, mebibytes))


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--megapixels", type=float, default=25)
    parser.add_argument("--model", default="u2netp")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    arguments = parser.parse_args()
    picture = scaled_jpeg(arguments.photo, arguments.megapixels - 0.02)
    with Image.open(io.BytesIO(picture)) as opened:
        width, height = opened.size
    mask = mask_of(width, height)
    unclear = 0
    with our_stack(arguments.model, arguments.models_dir) as server:
        ask(server, "/v1.0/removebg", {}, {"image_file": scaled_jpeg(arguments.photo, 1)})
        print("| tool | status | credits | seconds | MiB more: edge | compositor | inference |")
        print("|---|---|---|---|---|---|---|")
        for number, (name, (path, fields, needs_mask)) in enumerate(calls(width, height).items()):
            # Bytes behind a JPEG's end are ignored; they keep a call from being a repeat.
            files = {"image_file": picture + bytes([number])} | ({"mask_file": mask} if needs_mask else {})
            answer, cells = ask(server, path, fields, files)
            print(f"| {name} | {cells} |", flush=True)
            if answer.status_code not in (200, 400):
                unclear += 1
                print(answer.text[:300], file=sys.stderr)
    return min(unclear, 1)


if __name__ == "__main__":
    sys.exit(main())
