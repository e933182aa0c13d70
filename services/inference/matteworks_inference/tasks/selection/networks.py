"""An encoder and a decoder of the SAM family in onnxruntime: a picture to its embedding, a prompt to a mask.

Kirillov et al., "Segment Anything" (2023); Zhang et al., "Faster Segment Anything" (2023); Xiong et al.,
"EfficientSAM" (2023). What differs between exports is in the registry's entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from matteworks_inference.engines.contract import EngineUnavailable
from matteworks_inference.networks.graph import Layout
from matteworks_inference.networks.promptable import Dialogue, Framing, PromptableEntry
from matteworks_inference.picture import PixelArray
from matteworks_inference.tasks.selection.prompt import Prompt

__all__ = ["Embedding", "Mask", "PromptableNetworks"]

Floats = npt.NDArray[np.float32]

# The side of the mask that the decoder of Segment Anything begins with, a quarter of its picture's.
_MASK_INPUT_SIDE: Final = 256
_LOW_MASKS: Final = "low_res_masks"
_SAM_INPUTS: Final = (
    "image_embeddings", "point_coords", "point_labels", "mask_input", "has_mask_input", "orig_im_size",
)  # fmt: skip
_EFFICIENT_INPUTS: Final = (
    "image_embeddings", "batched_point_coords", "batched_point_labels", "orig_im_size",
)  # fmt: skip


@dataclass(frozen=True)
class Embedding:
    """What the encoder saw. `size_px` (width, height) is of the picture in the encoder's input, `scale` from
    the caller's pixels to those.
    """

    values: Floats
    size_px: tuple[int, int]
    scale: tuple[float, float]

    @property
    def size_bytes(self) -> int:
        """What it takes to keep."""
        return self.values.nbytes


@dataclass(frozen=True)
class Mask:
    """How likely each place of the picture is meant (h×w, 0 to 255), and how good the network finds that."""

    likely: npt.NDArray[np.uint8]
    score: float


class PromptableNetworks:
    """Both networks, loaded and run once. One calling thread."""

    def __init__(
        self, entry: PromptableEntry, encoder: Path, decoder: Path, *, threads: int, providers: Sequence[str]
    ) -> None:
        """Raises EngineUnavailable for files that are not what the entry says."""
        self.entry = entry
        self._encoder = _open(encoder, threads, providers)
        self._decoder = _open(decoder, threads, providers)
        self._input = self._encoder.get_inputs()[0].name
        wanted = _SAM_INPUTS if entry.dialogue is Dialogue.SAM else _EFFICIENT_INPUTS
        found = {value.name for value in self._decoder.get_inputs()}
        if missing := [name for name in wanted if name not in found]:
            raise EngineUnavailable(
                f"{decoder} has no input {', '.join(missing)}: it is no decoder that is asked as "
                f"{entry.dialogue.value}; it has {', '.join(sorted(found))}."
            )
        self._outputs = [value.name for value in self._decoder.get_outputs()]
        try:
            blank = np.zeros((64, 96, 3), np.uint8)
            self.mask(self.embed(blank), Prompt([(3, 3)], [], (1, 1, 40, 40)))
        except Exception as error:
            raise EngineUnavailable(f"{entry.name} does not run as its entry says: {error}") from error

    def embed(self, pixels: PixelArray) -> Embedding:
        """What the encoder sees in `pixels` (h×w×3). Blocks; the slow part."""
        entry = self.entry
        height, width = pixels.shape[:2]
        if entry.framing is Framing.STRETCHED:
            size_px = (entry.side_px, entry.side_px)
        else:
            factor = entry.side_px / max(width, height)
            size_px = (max(1, round(width * factor)), max(1, round(height * factor)))
        shrinks = size_px[0] < width or size_px[1] < height
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        scaled = np.asarray(cv2.resize(pixels, size_px, interpolation=method), np.float32)
        mean, deviation = (np.array(values, np.float32) for values in (entry.mean, entry.deviation))
        seen = np.asarray((scaled - mean) / deviation, np.float32)
        if entry.framing is Framing.PADDED:
            square = np.zeros((entry.side_px, entry.side_px, 3), np.float32)
            square[: size_px[1], : size_px[0]] = seen
            seen = square
        if entry.layout is Layout.NCHW:
            seen = seen.transpose(2, 0, 1)
        if entry.has_batch_axis:
            seen = seen[np.newaxis]
        (values, *_) = self._encoder.run(None, {self._input: np.ascontiguousarray(seen, np.float32)})
        scale = (size_px[0] / width, size_px[1] / height)
        return Embedding(np.asarray(values, np.float32), size_px, scale)

    def mask(self, embedding: Embedding, prompt: Prompt) -> Mask:
        """The mask of what `prompt` means. Blocks for some milliseconds."""
        pads = self.entry.dialogue is Dialogue.SAM
        places, labels = prompt.coordinates(embedding.scale, pads=pads)
        width, height = embedding.size_px
        if self.entry.dialogue is Dialogue.SAM:
            told: dict[str, npt.NDArray[Any]] = {
                "point_coords": places[np.newaxis],
                "point_labels": labels[np.newaxis],
                "mask_input": np.zeros((1, 1, _MASK_INPUT_SIDE, _MASK_INPUT_SIDE), np.float32),
                "has_mask_input": np.zeros(1, np.float32),
                "orig_im_size": np.array((height, width), np.float32),
            }
        else:
            told = {
                "batched_point_coords": places[np.newaxis, np.newaxis],
                "batched_point_labels": labels[np.newaxis, np.newaxis],
                "orig_im_size": np.array((height, width), np.int64),
            }
        answers = self._decoder.run(None, {"image_embeddings": embedding.values, **told})
        named = dict(zip(self._outputs, answers, strict=True))
        scores = np.asarray(named.get("iou_predictions", answers[1]), np.float32).ravel()
        is_low = _LOW_MASKS in named
        masks = np.asarray(named[_LOW_MASKS] if is_low else answers[0], np.float32)
        masks = masks.reshape(-1, *masks.shape[-2:])
        best = _best(scores, len(labels))
        logits = self._of_picture(masks[best], embedding.size_px) if is_low else masks[best]
        likely = 255 / (1 + np.exp(-np.clip(logits, -30, 30)))
        return Mask(np.rint(likely).astype(np.uint8), float(scores[best]))

    def _of_picture(self, logits: Floats, size_px: tuple[int, int]) -> Floats:
        """The part of a small square mask that the picture fills."""
        if self.entry.framing is Framing.STRETCHED:
            return logits
        height, width = logits.shape
        side = self.entry.side_px
        return logits[: max(1, round(height * size_px[1] / side)), : max(1, round(width * size_px[0] / side))]


def _best(scores: Floats, told_count: int) -> int:
    """Which of several masks. Of four the first is for many points, the others for a single one, which may
    mean a thing or its part (as in Segment Anything's own choice).
    """
    if len(scores) == 4:
        favour = (told_count - 2.5) * 1000
        return int((scores + np.array((favour, 0, 0, 0), np.float32)).argmax())
    return int(scores.argmax())


def _open(path: Path, threads: int, providers: Sequence[str]) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:
        raise EngineUnavailable(f"{path} is no network that runs here: {error}") from error
