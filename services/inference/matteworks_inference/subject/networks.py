"""The two bundled networks that look at what a picture shows: a classifier and a detector.

They come with the package, run on the CPU beside whatever device makes the mattes, and take some
milliseconds. What their outputs mean is `subject_type`'s matter.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from matteworks_inference.networks.graph import PIXELS, Layout, NetworkInterface, OutputScaling, finish_input
from matteworks_inference.picture import Picture, PixelArray

FloatArray = npt.NDArray[np.float32]

CLASSIFIER_SIDE_PX: Final = 224
DETECTOR_SIDE_PX: Final = 300
_CLASSIFIER: Final = NetworkInterface(
    "input", "", Layout.NCHW, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0), OutputScaling.NONE, False
)
_DETECTOR: Final = NetworkInterface(
    "normalized_input_image_tensor",
    "",
    Layout.NHWC,
    (127.5, 127.5, 127.5),
    (127.5, 127.5, 127.5),
    OutputScaling.NONE,
    False,
)


@dataclass(frozen=True)
class SubjectEvidence:
    """Raw outputs for one picture.

    `logits` (1000,) of ImageNet-1k before softmax; `features` (1280,); `box_encodings` (1917, 4) as
    cy cx h w relative to the anchors; `class_logits` (1917, 24) before the sigmoid, column 0 is nothing.
    """

    logits: FloatArray
    features: FloatArray
    box_encodings: FloatArray
    class_logits: FloatArray


class SubjectNetworks:
    """Both networks, loaded and warm. Thread-safe."""

    def __init__(self) -> None:
        # One thread each, side by side: they are too small to be worth splitting.
        self._classifier = _open("efficientnet_lite0_imagenet.onnx", _CLASSIFIER, CLASSIFIER_SIDE_PX)
        self._detector = _open("ssd_mobilenetv2_oidv4.onnx", _DETECTOR, DETECTOR_SIDE_PX)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="subject")
        blank = np.zeros((DETECTOR_SIDE_PX, DETECTOR_SIDE_PX, 3), np.uint8)
        self.look(Picture(blank, DETECTOR_SIDE_PX, DETECTOR_SIDE_PX))

    def look(self, picture: Picture) -> SubjectEvidence:
        """What both networks say of `picture`. Blocks for some ms."""
        detecting = self._threads.submit(
            self._run, self._detector, picture, DETECTOR_SIDE_PX,
            ["raw_outputs/box_encodings", "raw_outputs/class_predictions"],
        )  # fmt: skip
        logits, features = self._run(self._classifier, picture, CLASSIFIER_SIDE_PX, ["logits", "features"])
        box_encodings, class_logits = detecting.result()
        return SubjectEvidence(logits, features, box_encodings, class_logits)

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    @staticmethod
    def _run(session: Any, picture: Picture, side_px: int, outputs: list[str]) -> list[FloatArray]:
        pixels: PixelArray = picture.resized(side_px, side_px)
        return [output[0] for output in session.run(outputs, {PIXELS: pixels[np.newaxis]})]


def _open(file: str, interface: NetworkInterface, side_px: int) -> Any:
    content = resources.files(__package__).joinpath("weights", file).read_bytes()
    network = finish_input(onnx.load_from_string(content), interface, (side_px, side_px), is_half=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        network.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
