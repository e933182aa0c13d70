"""What a removal may cost: named sizes, and which of them an account may have.

An offer is a largest result and its price. Auth takes the first of several that the account can pay.
"""

from __future__ import annotations

from dataclasses import dataclass

from matteworks_imaging.header import ImageHeader

__all__ = ["Offer", "Size", "Tariff"]


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to serve a request: how large the result may be, and what it costs."""

    max_pixels: int
    credits_milli: int
    is_free_call_eligible: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """A size that callers name. Give `max_pixels`, or `max_side_px` for the longer side.

    `falls_back`: small pictures, and callers who cannot pay, get the preview.
    """

    credits_milli: int
    max_pixels: int = 0
    max_side_px: int = 0
    is_free_call_eligible: bool = False
    falls_back: bool = False

    def offer(self, header: ImageHeader) -> Offer:
        """The offer of this size for a picture."""
        max_pixels = self.max_pixels
        if self.max_side_px:
            longer_px = max(header.width_px, header.height_px)
            shrink = min(1.0, self.max_side_px / longer_px)
            max_pixels = max(1, round(header.width_px * shrink)) * max(1, round(header.height_px * shrink))
        return Offer(max_pixels, self.credits_milli, self.is_free_call_eligible)


@dataclass(frozen=True, slots=True)
class Tariff:
    """The size that a caller asked for, and the preview that stands in for it."""

    size: Size
    preview: Size

    def offers(self, header: ImageHeader, *, is_test: bool) -> list[Offer]:
        """What may be charged for a picture, best first. A test key gets a free preview."""
        preview = self.preview.offer(header)
        if is_test:
            return [Offer(preview.max_pixels, 0)]
        if not self.size.falls_back:
            return [self.size.offer(header)]
        if header.pixel_count <= preview.max_pixels:
            return [preview]
        return [self.size.offer(header), preview]
