"""Which file the result becomes and how large it may be: rules that are known before any pixel is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from matteworks_compositor.geometry import NO_MARGINS, CanvasPlan, Margins, Placement, plan_canvas
from matteworks_compositor.options.model import Channels, Color, CropMargins, OutputFormat
from matteworks_compositor.pipeline.job import Job
from matteworks_imaging.box import Box, Size, round_half_up
from matteworks_imaging.encoding import MAX_SIDE_PX
from matteworks_imaging.header import MAX_PIXELS

__all__ = [
    "OutputLimits",
    "backdrop_color",
    "is_matte_only",
    "margins_in_pixels",
    "output_limits",
    "placement",
    "plan",
]

_SIDE_LIMITS: Final = {
    OutputFormat.PNG: MAX_SIDE_PX["png"],
    OutputFormat.JPEG: MAX_SIDE_PX["jpeg"],
    OutputFormat.ZIP: MAX_SIDE_PX["jpeg"],
    OutputFormat.WEBP: MAX_SIDE_PX["webp"],
    OutputFormat.WEBP_LOSSLESS: MAX_SIDE_PX["webp"],
    OutputFormat.AVIF: MAX_SIDE_PX["avif"],
    OutputFormat.TIFF: MAX_SIDE_PX["tiff"],
    OutputFormat.BMP: MAX_SIDE_PX["bmp"],
    OutputFormat.GIF: MAX_SIDE_PX["gif"],
}
WHITE: Final = Color(255, 255, 255)


@dataclass(frozen=True, slots=True)
class OutputLimits:
    """The most that the result may measure; `max_side_px` bounds the longer side."""

    max_pixel_count: int
    max_side_px: int
    max_shorter_side_px: int


def is_matte_only(job: Job) -> bool:
    """Whether the result is the matte as a grey picture. A ZIP holds both anyway, so it never is."""
    return job.options.channels is Channels.ALPHA and job.options.format is not OutputFormat.ZIP


def backdrop_color(job: Job) -> Color | None:
    """The colour behind the subject; None: the result stays transparent, or a picture lies behind.

    JPEG, BMP and GIF have no transparency: what would be transparent in them is white, and a partly
    transparent background colour is laid over white.
    """
    color = job.options.bg_color
    if color is not None and color.alpha == 0:
        color = None
    if not job.options.format.is_flat:
        return color
    return WHITE if color is None else _over_white(color)


def output_limits(job: Job) -> OutputLimits:
    """Limits of the caller and of the format. AUTO counts as PNG unless the result must be opaque."""
    format_ = job.options.format
    if format_ is OutputFormat.AUTO:
        color = job.options.bg_color
        is_opaque = job.background is not None or (color is not None and color.alpha == 255)
        format_ = OutputFormat.JPEG if is_opaque and not is_matte_only(job) else OutputFormat.PNG
    most = min(MAX_PIXELS, job.options.max_pixel_count or MAX_PIXELS)
    if format_ is OutputFormat.PNG and job.options.max_png_pixel_count:
        most = min(most, job.options.max_png_pixel_count)
    longest_px = _SIDE_LIMITS[format_]
    box = job.options.max_size
    if box is None:
        return OutputLimits(most, longest_px, longest_px)
    return OutputLimits(
        most, min(longest_px, box.longer_side_px), min(longest_px, box.width_px, box.height_px)
    )


def placement(job: Job, subject: Box, px_scale: float) -> Placement:
    """What was asked for, with margins in working pixels; `px_scale` working pixels a source pixel."""
    crop = job.options.crop
    return Placement(
        margins=None if crop is None else margins_in_pixels(crop, subject, px_scale),
        scale_percent=job.options.scale_percent,
        share_percent=job.options.share_percent,
        aspect_ratio=None if crop is None else crop.aspect_ratio,
    )


def plan(job: Job, working: Size, subject: Box, room: Margins = NO_MARGINS) -> CanvasPlan:
    """The canvas for a subject at `subject` in a copy of `working` size, `room` free around it."""
    limits = output_limits(job)
    px_scale = working.width_px / job.picture.size.width_px
    return plan_canvas(
        working,
        subject,
        placement(job, subject, px_scale),
        room=room,
        max_pixel_count=limits.max_pixel_count,
        max_side_px=limits.max_side_px,
        max_shorter_side_px=limits.max_shorter_side_px,
    )


def margins_in_pixels(crop: CropMargins, subject: Box, px_scale: float) -> Margins:
    """Room around `subject`, before any `aspect_ratio`; `px_scale` working pixels a source pixel."""
    return Margins(
        top_px=round_half_up(crop.top.in_pixels(subject.height_px, px_scale)),
        right_px=round_half_up(crop.right.in_pixels(subject.width_px, px_scale)),
        bottom_px=round_half_up(crop.bottom.in_pixels(subject.height_px, px_scale)),
        left_px=round_half_up(crop.left.in_pixels(subject.width_px, px_scale)),
    )


def _over_white(color: Color) -> Color:
    def mix(value: int) -> int:
        return (value * color.alpha + 255 * (255 - color.alpha) + 127) // 255

    return Color(mix(color.red), mix(color.green), mix(color.blue))
