"""Masks of what is pointed at, by the operator's promptable network. Knows no wire."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.clock import Clock
from matteworks_common.errors import FailedPrecondition
from matteworks_common.kept import Kept
from matteworks_common.stages import Stages
from matteworks_inference.picture import PixelArray
from matteworks_inference.queueing.door import PictureAdmission
from matteworks_inference.tasks.selection.networks import Embedding, Mask, PromptableNetworks
from matteworks_inference.tasks.selection.prompt import Prompt

__all__ = ["PromptedMasks"]

# An embedding of Segment Anything has 4 MB.
MAX_BYTES: Final = 64 * 1024 * 1024
KEPT_S: Final = 600.0


class PromptedMasks:
    """One picture after the other on a thread of its own, beside the queue of the mattes.

    `networks` None: nothing is set up. `admission` bounds the pictures in hand. Use from one event loop.
    """

    def __init__(
        self, networks: PromptableNetworks | None, admission: PictureAdmission, clock: Clock
    ) -> None:
        self._networks = networks
        self._admission = admission
        self._embeddings: Kept[Embedding] = Kept(
            clock, lambda embedding: embedding.size_bytes, max_bytes=MAX_BYTES, kept_s=KEPT_S
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="selection")

    @property
    def model(self) -> str:
        """The network's name; empty when there is none."""
        return self._networks.entry.name if self._networks else ""

    def check(self) -> None:
        """Raise FailedPrecondition (TOOL_UNAVAILABLE) when no network is set up."""
        if self._networks is None:
            raise FailedPrecondition(
                reasons.ERROR_REASON_TOOL_UNAVAILABLE,
                "No promptable network is here. Put an encoder and a decoder that models.toml describes into "
                "the model directory.",
            )

    async def mask(
        self, pixels: PixelArray, prompt: Prompt, deadline_s: float | None, stages: Stages
    ) -> Mask:
        """The mask of what `prompt` means in `pixels` (h×w×3).

        Raises FailedPrecondition (TOOL_UNAVAILABLE), LimitExceeded (OVERLOADED).
        """
        self.check()
        with self._admission.hold(deadline_s):
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, self._answer, pixels, prompt, stages
            )

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _answer(self, pixels: PixelArray, prompt: Prompt, stages: Stages) -> Mask:
        assert self._networks is not None  # noqa: S101 - checked above
        shape = repr(pixels.shape).encode()
        key = self._embeddings.key(shape, pixels.data.cast("B"))
        embedding = self._embeddings.get(key)
        if embedding is None:
            with stages.measure("embed"):
                embedding = self._networks.embed(pixels)
            self._embeddings.put(key, embedding)
        with stages.measure("prompt"):
            return self._networks.mask(embedding, prompt)
