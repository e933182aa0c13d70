#!/usr/bin/env python3
"""Measure the edges of large cut-outs against exact answers, on art that is drawn for it.

    python tools/evaluate_edges.py [--megapixels 10,25] [--jpeg 92] [--sheet sheet.png]

Subjects with hair, fur, smoke, letters and a jagged outline are drawn at full resolution
(`drawn_edges.py`) and laid over a photograph-like, a plain and a green background. The compositor's own
steps get the picture as a file and, in place of a network's answer, the true matte squeezed to 1024 px
a side. Printed for each pair:

contour   mean distance in pixels between the 50 % contour and the true one, both ways, sub-pixel, distances
          beyond 20 px counted as 20: `cubic` for the plain enlargement of the same matte, `ours`.
colours   mean difference in levels inside the true soft band after laying the result over black, white and
          a strong colour: `ours` for the whole pipeline, `alone` for the colours' step given the true
          alpha, `none` for true alpha without that step.
spill     on green only, with green light added to the subject's rim: mean lead of green over the other
          channels there before and after `despill`, and the mean change of luminance in levels.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_common.stages import Stages
from matteworks_compositor.inference_client import Segmentation
from matteworks_compositor.kernels.foreground_colours import estimate_foreground
from matteworks_compositor.options.model import OutputFormat, Quality, RenderOptions, SubjectType
from matteworks_compositor.pipeline.job import Job, made
from matteworks_compositor.pipeline.pipeline import Pipeline, build_steps
from matteworks_imaging.box import Size
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.header import read_header
from matteworks_imaging.limits import PictureFile
from tools.drawn_edges import BACKGROUNDS, SUBJECTS

__all__ = ["Case", "colour_error", "contour_error", "cut_out", "draw_case", "plain_enlargement", "spill"]

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

NETWORK_SIDE_PX = 1024
HALF = np.float32(127.5)
FARTHEST_PX = 20.0
NEW_BACKGROUNDS = {"black": (0, 0, 0), "white": (255, 255, 255), "strong": (230, 0, 200)}
LUMINANCE = np.array((0.2126, 0.7152, 0.0722), np.float32)
# Green light on the subject, in levels at the contour, and how far it reaches, as a share of the longer side.
SPILL_LEVELS, SPILL_REACH = 45.0, 0.015
CROP_PX = 110


@dataclass(frozen=True, slots=True)
class Case:
    """A picture whose subject is known exactly: `colours` H×W×3, straight, and `alpha` H×W."""

    picture: Bytes
    colours: Bytes
    alpha: Bytes


class TrueMatte:
    """Stands where the network stands, and knows the answer."""

    def __init__(self, alpha: Bytes) -> None:
        self._alpha = alpha

    async def segment(
        self, pixels: Bytes, *, source_size: Size, model: str, quality: Quality, subject_type: SubjectType
    ) -> Segmentation:
        """The true matte at the size of `pixels`."""
        matte = squeezed(self._alpha, pixels.shape[1], pixels.shape[0])
        return Segmentation(matte, SubjectType.OTHER, 1.0, "truth")


def draw_case(subject: str, background: str, megapixels: float, *, has_spill: bool = False) -> Case:
    """A 4:3 picture of that size."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    height = round(width * 3 / 4)
    colours, alpha = SUBJECTS[subject](width, height)
    if has_spill:
        depth = cv2.distanceTransform(cv2.inRange(alpha, 128, 255), cv2.DIST_L2, 5)
        light = np.exp(-depth / np.float32(SPILL_REACH * width)) * np.float32(SPILL_LEVELS)
        colours[..., 1] = np.clip(colours[..., 1] + light, 0, 255).astype(np.uint8)
    return Case(laid_over(colours, alpha, BACKGROUNDS[background](width, height)), colours, alpha)


def laid_over(colours: Bytes, alpha: Bytes, below: Bytes) -> Bytes:
    """`colours` with `alpha` over an opaque picture."""
    share = alpha[..., None].astype(np.float32) / 255
    return np.rint(colours * share + below * (1 - share)).astype(np.uint8)


def squeezed(alpha: Bytes, width: int, height: int) -> Bytes:
    """The mean alpha of the area of each small pixel."""
    return np.asarray(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def plain_enlargement(alpha: Bytes) -> Bytes:
    """What is left of `alpha` after a matte of 1024 px a side, enlarged by cubic interpolation."""
    height, width = alpha.shape
    small = squeezed(alpha, min(width, NETWORK_SIDE_PX), min(height, NETWORK_SIDE_PX))
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def cut_out(case: Case, *, despill: bool = False, jpeg_quality: int | None = None) -> Bytes:
    """The pipeline's canvas for the picture: H×W×4, straight alpha."""
    kind, settings = ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]
    if jpeg_quality is not None:
        kind, settings = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality]
    _, encoded = cv2.imencode(kind, cv2.cvtColor(case.picture, cv2.COLOR_RGB2BGR), settings)
    content = encoded.tobytes()
    # ZIP, because it may hold more pixels than a PNG; its encoder is left out.
    options = RenderOptions(format=OutputFormat.ZIP, despill=despill)
    # Its header only: lossless pictures with grain are larger than an upload may be.
    job = Job("edges", PictureFile(content, read_header(content)), options)
    with ThreadPoolExecutor(1) as executor:
        pipeline = Pipeline(build_steps(Decoder(), TrueMatte(case.alpha))[:-1], executor)
        state = asyncio.run(pipeline.run(job, Stages()))
    return made(state.canvas)


def contour_error(alpha: Bytes, truth: Bytes) -> float:
    """Mean distance in pixels between the 50 % contours, both ways, each at most FARTHEST_PX."""
    ours, theirs = _crossings(alpha), _crossings(truth)
    return (_mean_distance(ours, theirs) + _mean_distance(theirs, ours)) / 2


def _crossings(alpha: Bytes) -> Floats:
    """For each pixel where the contour crosses the line to the next pixel, right (0) or below (1), the
    share of that way; NaN elsewhere: 2×H×W.
    """
    level = alpha.astype(np.float32) - HALF
    found = np.full((2, *alpha.shape), np.nan, np.float32)
    for near, far, into in (
        (level[:, :-1], level[:, 1:], found[0][:, :-1]),
        (level[:-1], level[1:], found[1][:-1]),
    ):
        crosses = (near > 0) != (far > 0)
        into[crosses] = near[crosses] / (near[crosses] - far[crosses])
    return found


def _mean_distance(points: Floats, target: Floats) -> float:
    """Mean distance from the crossings of one contour to the nearest of another."""
    has_target = ~np.isnan(target).all(axis=0)
    rows, columns = np.nonzero(~np.isnan(points).all(axis=0))
    if not has_target.any() or not len(rows):
        return FARTHEST_PX
    _, labels = cv2.distanceTransformWithLabels(
        np.where(has_target, 0, 255).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    owners = np.flatnonzero(has_target)
    pixel_of_label = np.zeros(int(labels.max()) + 1, np.int64)
    pixel_of_label[labels.reshape(-1)[owners]] = owners
    near_rows, near_columns = np.divmod(pixel_of_label[labels[rows, columns]], target.shape[2])
    padded = np.pad(target, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    total, count = 0.0, 0
    for direction in (0, 1):
        share = points[direction, rows, columns]
        valid = ~np.isnan(share)
        x = columns[valid] + (share[valid] if direction == 0 else 0)
        y = rows[valid] + (share[valid] if direction == 1 else 0)
        best = np.full(len(x), FARTHEST_PX)
        # The nearest pixel with a crossing is known; the nearest crossing lies there or beside it.
        for row_step, column_step in np.ndindex(3, 3):
            r, c = near_rows[valid] + row_step - 1, near_columns[valid] + column_step - 1
            for other in (0, 1):
                other_share = padded[other, r + 1, c + 1]
                to_x = c + (other_share if other == 0 else 0)
                to_y = r + (other_share if other == 1 else 0)
                best = np.fmin(best, np.where(np.isnan(other_share), np.nan, np.hypot(to_x - x, to_y - y)))
        total, count = total + float(best.sum()), count + len(best)
    return total / count


def colour_error(colours: Bytes, alpha: Bytes, case: Case) -> dict[str, float]:
    """Mean difference in levels inside the true soft band, by new background."""
    soft = np.flatnonzero((case.alpha > 0) & (case.alpha < 255))

    def shown(layer: Bytes, cover: Bytes, below: tuple[int, int, int]) -> Floats:
        share = cover.reshape(-1)[soft][:, None].astype(np.float32) / 255
        return np.asarray(layer.reshape(-1, 3)[soft] * share + np.array(below) * (1 - share), np.float32)

    return {
        name: float(np.abs(shown(colours, alpha, new) - shown(case.colours, case.alpha, new)).mean())
        for name, new in NEW_BACKGROUNDS.items()
    }


def spill(case: Case) -> tuple[float, float, float]:
    """Lead of green before and after `despill` where it leads before, and the mean change of luminance."""
    before, after = (cut_out(case, despill=despill).astype(np.float32) for despill in (False, True))
    lead_before, lead_after = (
        canvas[..., 1] - np.maximum(canvas[..., 0], canvas[..., 2]) for canvas in (before, after)
    )
    leads = (before[..., 3] > 0) & (lead_before > 0)
    if not leads.any():
        return 0.0, 0.0, 0.0
    change = np.abs((after[..., :3] - before[..., :3])[leads] @ LUMINANCE)
    return float(lead_before[leads].mean()), float(lead_after[leads].mean()), float(change.mean())


def sheet_row(case: Case, plain: Bytes, ours: Bytes) -> Bytes:
    """One spot of the contour at 200 %: the picture, then truth, plain and ours over each colour."""
    edge = np.argwhere(cv2.inRange(case.alpha, 100, 156))
    y, x = edge[len(edge) // 5] if len(edge) else (0, 0)
    top = min(max(0, y - CROP_PX // 2), case.alpha.shape[0] - CROP_PX)
    left = min(max(0, x - CROP_PX // 2), case.alpha.shape[1] - CROP_PX)
    place = (slice(top, top + CROP_PX), slice(left, left + CROP_PX))
    tiles = [case.picture[place]]
    for new in NEW_BACKGROUNDS.values():
        below = np.full((CROP_PX, CROP_PX, 3), new, np.uint8)
        tiles += [
            laid_over(case.colours[place], case.alpha[place], below),
            laid_over(case.picture[place], plain[place], below),
            laid_over(ours[place][..., :3], ours[place][..., 3], below),
        ]
    row = np.hstack(tiles)
    return np.asarray(cv2.resize(row, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST), np.uint8)


def pairs(subjects: list[str], backgrounds: list[str]) -> Iterator[tuple[str, str]]:
    """Every subject on every background."""
    for subject in subjects:
        for background in backgrounds:
            yield subject, background


def main() -> None:
    """Measure, print the tables, write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", default="10,25")
    parser.add_argument("--subjects", default=",".join(SUBJECTS))
    parser.add_argument("--backgrounds", default=",".join(BACKGROUNDS))
    parser.add_argument("--jpeg", type=int, help="quality of a JPEG input; default: lossless PNG")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--skip-spill", action="store_true")
    arguments = parser.parse_args()
    subjects, backgrounds = arguments.subjects.split(","), arguments.backgrounds.split(",")
    rows: list[Bytes] = []
    print(
        "| MP | subject | on | contour px cubic | ours | over black | white | strong | colours alone | none |"
    )
    print("|---" * 10 + "|")
    for megapixels in (float(size) for size in arguments.megapixels.split(",")):
        for subject, background in pairs(subjects, backgrounds):
            case = draw_case(subject, background, megapixels)
            plain, ours = plain_enlargement(case.alpha), cut_out(case, jpeg_quality=arguments.jpeg)
            whole = colour_error(np.ascontiguousarray(ours[..., :3]), ours[..., 3].copy(), case)
            alone = colour_error(estimate_foreground(case.picture, case.alpha), case.alpha, case)
            none = colour_error(case.picture, case.alpha, case)
            contours = [contour_error(alpha, case.alpha) for alpha in (plain, ours[..., 3])]
            means = [float(np.mean(list(errors.values()))) for errors in (alone, none)]
            cells = [*contours, *whole.values(), *means]
            print(
                f"| {megapixels:g} | {subject} | {background} | "
                + " | ".join(f"{value:.2f}" for value in cells)
                + " |",
                flush=True,
            )
            if arguments.sheet:
                rows.append(sheet_row(case, plain, ours))
    if "green" in backgrounds and not arguments.skip_spill:
        print("\n| MP | subject | lead of green before | after despill | change of luminance |")
        print("|---" * 5 + "|")
        for megapixels in (float(size) for size in arguments.megapixels.split(",")):
            for subject in subjects:
                before, after, change = spill(draw_case(subject, "green", megapixels, has_spill=True))
                print(
                    f"| {megapixels:g} | {subject} | {before:.1f} | {after:.2f} | {change:.2f} |", flush=True
                )
    if arguments.sheet:
        cv2.imwrite(str(arguments.sheet), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
