"""Who paints a hole, as the rest of the service sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import FailedPrecondition, MatteworksError
from matteworks_inference.picture import MatteArray, PixelArray

__all__ = ["Hole", "NoPainter", "Painter", "no_words", "painter_failed"]

HOW_TO_ADD = (
    "The operator adds one with MATTEWORKS_INFERENCE_PAINTER: a server that speaks OpenAI's images/edits or "
    "the Open Inference Protocol; docs/editing.md says how."
)


@dataclass(frozen=True, slots=True)
class Hole:
    """A part of a picture: `pixels` h×w×3 uint8, R G B; `mask` h×w uint8, 255 in the hole, 0 elsewhere.

    `prompt` says what to paint; empty: what the surroundings suggest.
    """

    pixels: PixelArray
    mask: MatteArray
    prompt: str = ""


class Painter(Protocol):
    """Paints holes. Use from one event loop."""

    @property
    def name(self) -> str:
        """For answers and logs."""

    async def paint(self, hole: Hole, timeout_s: float) -> PixelArray:
        """Pixels of the hole's size. What is outside the hole may be anything.

        Raises FailedPrecondition (TOOL_UNAVAILABLE) for a prompt that it cannot read, InvalidField for one
        that it refuses, MatteworksError (PAINTER_FAILED), TimeoutError.
        """

    async def aclose(self) -> None:
        """Give everything back."""


class NoPainter:
    """Nothing is set up here."""

    name = "none"

    async def paint(self, hole: Hole, timeout_s: float) -> PixelArray:
        raise FailedPrecondition(
            reasons.ERROR_REASON_TOOL_UNAVAILABLE,
            f"Painting from a prompt needs a generative server, and none is set up here. {HOW_TO_ADD} "
            "Leave the prompt out to fill from the surroundings.",
        )

    async def aclose(self) -> None:
        """Nothing is open."""


def no_words(name: str) -> FailedPrecondition:
    """`name` fills from the surroundings only. A picture that ignores what was asked for would be a lie."""
    return FailedPrecondition(
        reasons.ERROR_REASON_TOOL_UNAVAILABLE,
        f"What fills pictures here, {name}, reads no prompts. {HOW_TO_ADD} Leave the prompt out to fill from "
        "the surroundings.",
        metadata={"painter": name},
    )


def painter_failed(why: str) -> MatteworksError:
    """`why` is half a sentence, without anything that a server said."""
    return MatteworksError(
        reasons.ERROR_REASON_PAINTER_FAILED,
        f"The generative server did not give a picture: {why}. Nothing was charged. Try again later, or "
        "leave the prompt out to fill from the surroundings.",
    )
