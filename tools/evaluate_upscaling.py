#!/usr/bin/env python3
"""Measure how near enlarged pictures come to the ones that they were shrunk from.

    python -m tools.evaluate_upscaling PICTURE... --models DIR [--side 256] [--shrink bicubic] [--sheet F]

Each picture is shrunk by two first, so that it is sharp to the pixel, and its square of `--side` pixels with
most detail is taken, the truth. It is shrunk two and four times and enlarged again: by the editor that serves
Upscale, with the network and with its filter alone, and by Pillow's Lanczos and bicubic windows. Prints the
mean peak signal-to-noise ratio in dB, 8 pixels at the rim left out, and what a megapixel that goes in costs
the network in core-seconds: on two idle cores half as many seconds pass. `--sheet` draws bicubic, Lanczos,
ours and the truth side by side, four times as large as what went in.
"""

import argparse
import asyncio
import statistics
import time
from collections import defaultdict
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from matteworks_common.clock import SystemClock
from matteworks_common.stages import Stages
from matteworks_compositor.admission import Admission
from matteworks_compositor.editing.enlarger import FACTORS, Enlarger
from matteworks_compositor.editing.workbench import EditOutput, Workbench
from matteworks_compositor.kernels.tiling import FADE_PX, TILE_PX
from matteworks_compositor.kernels.tiling import RIM_PX as TILE_RIM_PX
from matteworks_compositor.upscaling_client import FACTOR
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.encoding import encode_png
from matteworks_imaging.limits import admit_file
from matteworks_inference.engines.contract import NetworkKey
from matteworks_inference.engines.onnx_cpu import CpuPlacement
from matteworks_inference.engines.onnx_engine import OnnxRuntimeEngine
from matteworks_inference.engines.threads import usable_processor_count
from matteworks_inference.networks.graph import PIXELS, UPSCALED
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.registry import load_registry, weights_path

Bytes8 = NDArray[np.uint8]
SHRINKS: Final = {"bicubic": Image.Resampling.BICUBIC, "box": Image.Resampling.BOX}
RIM_PX: Final = 8
MODEL: Final = "esrgan-thick-x4"
LARGE: Final = 1 << 30


class Network:
    """The network in this process. `tiles` it drew, and `busy_s` core-seconds that took."""

    def __init__(self, models: Path) -> None:
        self._entry = load_registry().find(MODEL)
        weights = weights_path(self._entry, models)
        if weights is None:
            raise SystemExit(f"no weights of {MODEL} in {models}; run: matteworks models pull {MODEL}")
        graphs = GraphStore.beside_weights(models)
        self._engine = OnnxRuntimeEngine(CpuPlacement(usable_processor_count(), graphs), max_batch_items=1)
        self._engine.load(self._entry, weights)
        self._device = ThreadPoolExecutor(1)
        self.tiles, self.busy_s = 0, 0.0

    async def model(self) -> str:
        """Its name."""
        return MODEL

    async def upscale(self, tile: Bytes8) -> Bytes8:
        """One tile, as the inference service draws it."""
        return await asyncio.get_running_loop().run_in_executor(self._device, self._run, tile)

    def _run(self, tile: Bytes8) -> Bytes8:
        height_px, width_px = tile.shape[:2]
        across_px, down_px = self._entry.input_sizes_px[0]
        padded = cv2.copyMakeBorder(tile, 0, down_px - height_px, 0, across_px - width_px, cv2.BORDER_REFLECT)
        key = NetworkKey(MODEL, across_px, down_px)
        start_s = time.process_time()
        (answer,) = self._engine.run(self._engine.prepare(key, [{PIXELS: np.asarray(padded, np.uint8)}]))
        self.busy_s += time.process_time() - start_s
        self.tiles += 1
        return np.asarray(answer[UPSCALED][: FACTOR * height_px, : FACTOR * width_px], np.uint8)


def truth_of(path: Path, side_px: int) -> Image.Image:
    """The square of a picture, shrunk by two, that has most detail."""
    whole = Image.open(path).convert("RGB")
    whole = whole.resize((whole.width // 2, whole.height // 2), Image.Resampling.LANCZOS)
    side_px = min(side_px, whole.width // 8 * 8, whole.height // 8 * 8)
    light = np.asarray(whole.convert("L"), np.float32)
    detail = cv2.boxFilter(np.abs(cv2.Laplacian(light, cv2.CV_32F)), -1, (side_px, side_px))
    half = side_px // 2
    inner = detail[half : whole.height - half + 1, half : whole.width - half + 1]
    top, left = np.unravel_index(int(inner.argmax()), inner.shape)
    return whole.crop((int(left), int(top), int(left) + side_px, int(top) + side_px))


def psnr(picture: Bytes8, truth: Bytes8) -> float:
    """In dB, over all three channels."""
    inner = slice(RIM_PX, -RIM_PX)
    difference = picture[inner, inner].astype(np.float64) - truth[inner, inner]
    return float(10 * np.log10(255**2 / max(1e-9, float((difference**2).mean()))))


def editor(network: Network, executor: Executor, network_pixels: float) -> Enlarger:
    """The editor of the service, with `network` in this process."""
    admission = Admission(LARGE, LARGE, SystemClock())
    bench = Workbench(Decoder(), executor, admission, threads=2, max_result_bytes=LARGE)
    return Enlarger(bench, network, network_pixels=network_pixels)


async def enlarged(enlarger: Enlarger, small: Image.Image, factor: int) -> Bytes8:
    """What the editor makes of it."""
    file = admit_file(encode_png(np.asarray(small)))
    answer = await enlarger.enlarge(file, factor, EditOutput(), Stages())
    return Decoder().decode(admit_file(answer.edited.content)).pixels


async def measure(paths: list[Path], models: Path, side_px: int, shrink: str, sheet: Path | None) -> None:
    """All pictures; prints the table."""
    network, executor = Network(models), ThreadPoolExecutor(2)

    ours, filtered = (editor(network, executor, pixels) for pixels in (LARGE, 0))
    figures: dict[tuple[int, str], list[float]] = defaultdict(list)
    rows: list[Bytes8] = []
    for path in paths:
        truth = truth_of(path, side_px)
        for factor in FACTORS:
            small = truth.resize((truth.width // factor, truth.height // factor), SHRINKS[shrink])
            results = {
                "bicubic": np.asarray(small.resize(truth.size, Image.Resampling.BICUBIC)),
                "lanczos": np.asarray(small.resize(truth.size, Image.Resampling.LANCZOS)),
                "filter": await enlarged(filtered, small, factor),
                "network": await enlarged(ours, small, factor),
            }
            for name, pixels in results.items():
                figures[factor, name].append(psnr(pixels, np.asarray(truth)))
            if factor == FACTOR:
                shown = ("bicubic", "lanczos", "network")
                rows.append(np.hstack([*(results[name] for name in shown), np.asarray(truth)]))
        print(path.name, flush=True)
    names = ("bicubic", "lanczos", "filter", "network")
    print(f"\n{len(paths)} pictures, shrunk by {shrink}\n")
    print("| | " + " | ".join(names) + " | network - lanczos: mean, least |")
    print("|---|" + "---|" * (len(names) + 1))
    for factor in FACTORS:
        gains = np.subtract(figures[factor, "network"], figures[factor, "lanczos"])
        means = " | ".join(f"{statistics.mean(figures[factor, name]):.2f}" for name in names)
        print(f"| {factor}x | {means} | {gains.mean():+.2f}, {gains.min():+.2f} dB |")
    # What neighbours share counts once.
    pixels = network.tiles * (TILE_PX - 2 * TILE_RIM_PX - FADE_PX) ** 2
    a_tile_s, a_megapixel_s = network.busy_s / network.tiles, network.busy_s / pixels * 1e6
    print(f"\nnetwork: {a_tile_s:.2f} core-seconds a tile, {a_megapixel_s:.0f} a megapixel that goes in")
    if sheet:
        cv2.imwrite(str(sheet), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--shrink", choices=SHRINKS, default="bicubic")
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    asyncio.run(
        measure(arguments.pictures, arguments.models, arguments.side, arguments.shrink, arguments.sheet)
    )


if __name__ == "__main__":
    main()
