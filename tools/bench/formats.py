"""Time and memory of reading and writing each file format, one process each; the weights of admission.

python -m tools.bench.formats [--photo PHOTO] [--megapixels 50]

Bytes a pixel are how much the process grows meanwhile: a writer beside the pixels that it is given, a
reader with those that it gives. HEIC is not written here; give a file to `--heic` to read one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_imaging import encoding
from matteworks_imaging.decoding import Decoder, configure_libvips
from matteworks_imaging.limits import admit_file

WRITERS = {
    "png": encoding.encode_png,
    "jpeg": encoding.encode_jpeg,
    "webp": encoding.encode_webp,
    "webp_lossless": encoding.encode_lossless_webp,
    "avif": encoding.encode_avif,
    "tiff": encoding.encode_tiff,
    "bmp": encoding.encode_bmp,
    "gif": encoding.encode_gif,
}
FLAT = {"jpeg", "bmp", "gif"}
THREADS = 2


def picture(photo: Path | None, megapixels: float) -> NDArray[np.uint8]:
    """H×W×4: a photograph, or soft noise, enlarged to this size; a third of it transparent."""
    side = int((megapixels * 1e6) ** 0.5)
    if photo is None:
        small = np.random.default_rng(0).integers(0, 256, (side // 8, side // 8, 3), np.uint8)
    else:
        small = np.asarray(cv2.cvtColor(np.asarray(cv2.imread(str(photo))), cv2.COLOR_BGR2RGB), np.uint8)
    colours = np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
    y, x = np.ogrid[:side, :side]
    distance = np.hypot((x - side / 2).astype(np.float32), (y - side / 2).astype(np.float32))
    alpha = np.clip(side * 0.46 - distance, 0, 255).astype(np.uint8)
    colours[alpha == 0] = 0
    return np.dstack((colours, alpha))


def write(name: str, pixels_at: Path, to: Path, answer: Connection) -> None:
    """Encode the pixels of a file in this process."""
    configure_libvips(THREADS)
    pixels = np.load(pixels_at)
    if name in FLAT:
        pixels = np.ascontiguousarray(pixels[..., :3])
    watch = Watch(pixels.shape[0] * pixels.shape[1])
    content = WRITERS[name](pixels)
    answer.send((*watch.stop(), len(content)))
    to.write_bytes(content)


def read(_name: str, source: Path, _to: Path, answer: Connection) -> None:
    """Decode a file in this process."""
    configure_libvips(THREADS)
    file = admit_file(source.read_bytes())
    watch = Watch(file.size.pixel_count)
    decoded = Decoder().decode(file)
    answer.send((*watch.stop(), len(file.content)))
    del decoded


class Watch:
    """Seconds, and how many bytes a pixel the process has grown at most since this was made."""

    def __init__(self, pixel_count: int) -> None:
        self._pixel_count = pixel_count
        # From here on the kernel counts the peak anew.
        Path("/proc/self/clear_refs").write_text("5")
        self._before = _status("VmRSS")
        self._start_s = time.perf_counter()

    def stop(self) -> tuple[float, float]:
        """Seconds and bytes a pixel."""
        seconds = time.perf_counter() - self._start_s
        return seconds, (_status("VmHWM") - self._before) / self._pixel_count


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"the kernel does not tell {name}")


def alone(work: Callable[[str, Path, Path, Connection], None], name: str, source: Path, to: Path) -> str:
    """The figures of `work` in a process of its own, as cells of a table."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=work, args=(name, source, to, theirs))
    process.start()
    theirs.close()
    try:
        seconds, bytes_a_pixel, size = ours.recv()
    except EOFError:
        return "failed | - | -"
    finally:
        process.join()
    return f"{seconds:.2f} | {bytes_a_pixel:.1f} | {size / 1e6:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, help="a photograph to enlarge; soft noise without one")
    parser.add_argument("--heic", type=Path, help="a HEIC file to read")
    parser.add_argument("--megapixels", type=float, default=50.0)
    parser.add_argument("--only", nargs="*", choices=sorted(WRITERS), default=list(WRITERS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pixels_at = Path(folder) / "pixels.npy"
        np.save(pixels_at, picture(arguments.photo, arguments.megapixels))
        print("| format | write s | bytes a pixel | MB | read s | bytes a pixel |")
        print("|---|---|---|---|---|---|", flush=True)
        for name in arguments.only:
            file = Path(folder) / name
            written = alone(write, name, pixels_at, file)
            back = "| ".join(alone(read, name, file, file).split("| ")[:2]) if file.is_file() else "- | -"
            print(f"| {name} | {written} | {back.rstrip(' |')} |", flush=True)
        if arguments.heic:
            back = alone(read, "heic", arguments.heic, arguments.heic)
            print(f"| heic (read: s, bytes a pixel, MB) | {back} |")


if __name__ == "__main__":
    main()
