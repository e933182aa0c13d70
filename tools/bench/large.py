"""Time and memory of one large PNG: where the API has no limit of its own for it, and where it has.

python -m tools.bench.large --photo PHOTO [--megapixels 50] [--grain 2]

The photo is enlarged and gets grain (levels, one sigma), so that it packs as a camera's does. Peaks are the
growth of each process's resident memory during the call, beside what the compositor's admission counts
for it: 12 bytes a pixel.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from tools.bench.pictures import scaled_jpeg
from tools.bench.servers import Server, descendants, our_stack

FIELDS = {"size": "full", "format": "png"}
PATHS = {"backgrounderase": "/v2", "remove.bg": "/v1.0/removebg"}
PROCESSES = ("matteworks_edge", "matteworks_compositor", "matteworks_inference")
ADMITTED_BYTES_A_PIXEL = 12


def grained(picture: bytes, sigma: float) -> bytes:
    """A JPEG with noise of `sigma` levels in every channel."""
    with Image.open(io.BytesIO(picture)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    random = np.random.default_rng(7)
    for row in range(0, pixels.shape[0], 256):
        rows = pixels[row : row + 256]
        noise = random.normal(0, sigma, rows.shape)
        pixels = pixels if pixels.flags.writeable else pixels.copy()
        pixels[row : row + 256] = np.clip(rows + noise, 0, 255).astype(np.uint8)
    body = io.BytesIO()
    Image.fromarray(pixels).save(body, "JPEG", quality=92)
    return body.getvalue()


def pids(server: Server) -> dict[str, list[int]]:
    """Our processes by the module that they run."""
    found: dict[str, list[int]] = {name: [] for name in PROCESSES}
    for pid in descendants(server.root_pid):
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        for name in PROCESSES:
            if name in command:
                found[name].append(pid)
    return found


def resident_bytes(pid: int, line: str) -> int:
    """`VmRSS`, or the peak since it was last reset, `VmHWM`."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{line}:")[2].split()[0]) * 1024


def measure(
    server: Server, path: str, fields: dict[str, str], files: dict[str, tuple[str, bytes]]
) -> tuple[float, httpx.Response, dict[str, int]]:
    """Seconds, the answer, and by how many bytes each kind of process grew at its highest."""
    processes = pids(server)
    before = {pid: resident_bytes(pid, "VmRSS") for found in processes.values() for pid in found}
    for pid in before:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    start = time.perf_counter()
    answer = httpx.post(
        f"{server.base_url}{path}",
        headers={"X-Api-Key": server.key},
        data=fields,
        files=files,
        timeout=600,
    )
    seconds = time.perf_counter() - start
    grown = {
        name: max((resident_bytes(pid, "VmHWM") - before[pid] for pid in found), default=0)
        for name, found in processes.items()
    }
    return seconds, answer, grown


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--megapixels", type=float, default=50)
    parser.add_argument("--grain", type=float, default=2)
    parser.add_argument("--model", default="u2netp")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    arguments = parser.parse_args()
    # A little less, so that rounding of the sides does not go above the limit.
    enlarged = scaled_jpeg(arguments.photo, arguments.megapixels - 0.02)
    picture = grained(enlarged, arguments.grain)
    admitted = arguments.megapixels * 1e6 * ADMITTED_BYTES_A_PIXEL
    print(f"{len(picture) / 2**20:.1f} MiB of JPEG; admission counts {admitted / 2**20:.0f} MiB")
    print("| API | status | seconds | size | MiB of PNG | edge | compositor | inference |")
    print("|---|---|---|---|---|---|---|---|")
    with our_stack(arguments.model, arguments.models_dir) as server:
        small = {"image_file": ("p.jpg", scaled_jpeg(arguments.photo, 1))}
        measure(server, PATHS["remove.bg"], FIELDS, small)
        for number, (name, path) in enumerate(PATHS.items()):
            # Bytes behind a JPEG's end are ignored; they keep the second from being a repeat.
            files = {"image_file": ("p.jpg", picture + bytes([number]))}
            seconds, answer, grown = measure(server, path, FIELDS, files)
            size = f"{answer.headers.get('x-width')}x{answer.headers.get('x-height')}"
            cells = [f"{len(answer.content) / 2**20:.1f}", *(f"{grown[p] / 2**20:.0f}" for p in PROCESSES)]
            print(
                f"| {name} | {answer.status_code} | {seconds:.1f} | {size} | {' | '.join(cells)} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
