"""What networks see of a picture: at most 1024 px a side, each side squeezed for itself, nothing transparent.

One place for whoever shows a picture to a network, so that all of them show it the same pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_imaging.box import Size, fit_within
from matteworks_imaging.decoding import Decoded, Decoder
from matteworks_imaging.filters.colour_padding import blank_where_empty
from matteworks_imaging.limits import PictureFile
from matteworks_imaging.resampling import resize

__all__ = ["LARGEST_SIDE_PX", "decode_whole", "network_view"]

LARGEST_SIDE_PX = 1024
# A whole picture is read as it is for a PNG, the default: larger ones are reduced while they load.
_WHOLE_PIXELS = 10_000_000

# What a network sees behind a picture that is partly transparent, and behind one that is bright.
LIGHT_BACKDROP, DARK_BACKDROP, BRIGHT_MEAN = 255, 64, 190


def decode_whole(decoder: Decoder, file: PictureFile) -> Decoded:
    """The picture as a removal of the default format decodes it. Blocks.

    Raises InvalidPicture: FAILED_TO_READ_IMAGE.
    """
    useful = fit_within(file.size, _WHOLE_PIXELS, max(file.size.longer_side_px, 1))
    decoded = decoder.decode(file, useful, reduced_to=useful)
    if decoded.alpha is not None:
        # What a file hides below alpha 0 must not be seen through a change of size.
        blank_where_empty(decoded.pixels, decoded.alpha)
    return decoded


def network_view(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """H×W×3 sRGB and H×W alpha, squeezed to at most 1024 px a side; small pictures stay as they are.

    The aspect ratio is not kept. What is transparent stands on a backdrop that differs from the subject.
    """
    size = Size(min(pixels.shape[1], LARGEST_SIDE_PX), min(pixels.shape[0], LARGEST_SIDE_PX))
    squeezed = resize(pixels, size)
    return squeezed if alpha is None else _on_backdrop(squeezed, resize(alpha, size))


def _on_backdrop(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    brightness = float(np.mean(cv2.mean(pixels, mask=cv2.inRange(alpha, 128, 255))[:3]))
    backdrop = DARK_BACKDROP if brightness > BRIGHT_MEAN else LIGHT_BACKDROP
    share = alpha.astype(np.float32)[..., None] / 255
    mixed: NDArray[np.uint8] = (pixels * share + backdrop * (1 - share) + 0.5).astype(np.uint8)
    return mixed
