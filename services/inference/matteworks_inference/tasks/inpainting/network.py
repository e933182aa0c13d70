"""A network that fills holes, in onnxruntime: one at a time, in a thread of its own, beside the mattes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import structlog

from matteworks_inference.engines.contract import EngineUnavailable
from matteworks_inference.networks.graph import Layout
from matteworks_inference.networks.painters import PainterEntry
from matteworks_inference.picture import PixelArray
from matteworks_inference.tasks.inpainting.fitting import Fitted, fit
from matteworks_inference.tasks.inpainting.painter import Hole, no_words, painter_failed

__all__ = ["NetworkPainter"]

_DTYPES: Final = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}
log = structlog.get_logger()


class NetworkPainter:
    """See `Painter`. `workers` run what is not the network."""

    def __init__(
        self, entry: PainterEntry, file: Path, workers: Executor, *, threads: int, providers: Sequence[str]
    ) -> None:
        """Load and run it once. Blocks. Raises EngineUnavailable for a file that is not as the entry says."""
        self._entry = entry
        self._workers = workers
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=list(providers))
        except Exception as error:
            raise EngineUnavailable(f"{file} is no network that runs here: {error}") from error
        self._kinds = {value.name: value.type for value in self._session.get_inputs()}
        self._image, self._mask = self._input_names(file)
        self._output = entry.output or self._session.get_outputs()[0].name
        width_px, height_px = entry.sizes_px[0]
        mask = np.zeros((height_px, width_px), np.uint8)
        mask[: height_px // 2] = 255
        blank = Hole(np.zeros((height_px, width_px, 3), np.uint8), mask)
        try:
            self._run(fit(blank, [entry.sizes_px[0]]), onnxruntime.RunOptions())
        except Exception as error:
            raise EngineUnavailable(f"{entry.name} does not run as its entry says: {error}") from error
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="painter")

    @property
    def name(self) -> str:
        """The entry's."""
        return self._entry.name

    async def paint(self, hole: Hole, timeout_s: float) -> PixelArray:
        """See `Painter`. A run whose time is up is ended between two of its nodes."""
        if hole.prompt and not self._entry.prompt_input:
            raise no_words(self.name)
        loop, options = asyncio.get_running_loop(), onnxruntime.RunOptions()
        async with asyncio.timeout(timeout_s):
            fitted = await loop.run_in_executor(self._workers, fit, hole, self._entry.sizes_px)
            try:
                painted = await loop.run_in_executor(self._thread, self._run, fitted, options)
            except asyncio.CancelledError:
                options.terminate = True
                raise
            except Exception as error:
                log.warning("painter_broke", painter=self.name, error=str(error))
                raise painter_failed("the network failed") from error
            return await loop.run_in_executor(self._workers, fitted.take_back, painted)

    async def aclose(self) -> None:
        """End the thread; a run under way is waited for."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)

    def _input_names(self, file: Path) -> tuple[str, str]:
        entry = self._entry
        unnamed = [name for name in self._kinds if name != entry.prompt_input]
        wanted = [entry.image_input or unnamed[0], entry.mask_input or unnamed[-1]]
        if entry.prompt_input:
            wanted.append(entry.prompt_input)
        if set(wanted) != set(self._kinds) or len(wanted) != len(self._kinds):
            raise EngineUnavailable(
                f"{file} has the inputs {', '.join(self._kinds)}; {entry.name} is described as one with a "
                f"picture, a mask{' and a prompt' if entry.prompt_input else ''}."
            )
        return wanted[0], wanted[1]

    def _run(self, fitted: Fitted, options: Any) -> PixelArray:
        entry, hole = self._entry, fitted.hole
        pixels: npt.NDArray[Any] = hole.pixels
        if self._kinds[self._image] != "tensor(uint8)":
            pixels = (hole.pixels.astype(np.float32) - entry.mean) / entry.deviation
        mask = np.where(hole.mask > 0, entry.hole, entry.known)[..., np.newaxis]
        fed = {
            self._image: self._laid_out(pixels, self._image),
            self._mask: self._laid_out(mask, self._mask),
        }
        if entry.prompt_input:
            fed[entry.prompt_input] = np.array([hole.prompt], object)
        (answer,) = self._session.run([self._output], fed, options)
        painted = np.asarray(answer, np.float32)[0]
        if entry.layout is Layout.NCHW:
            painted = painted.transpose(1, 2, 0)
        if painted.shape != hole.pixels.shape:
            raise ValueError(f"it answered {answer.shape}")
        levels = painted * entry.answer_deviation + entry.answer_mean
        # What is no number is black, not whatever a byte makes of it.
        return np.asarray(np.rint(np.clip(np.nan_to_num(levels), 0, 255)), np.uint8)

    def _laid_out(self, values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
        if self._kinds[name] not in _DTYPES:
            raise ValueError(f"its input {name} is of {self._kinds[name]}")
        planes = values.transpose(2, 0, 1) if self._entry.layout is Layout.NCHW else values
        return np.ascontiguousarray(planes[np.newaxis], _DTYPES[self._kinds[name]])
