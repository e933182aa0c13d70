#!/usr/bin/env python3
"""Measure what pointing at a subject is worth, on pictures with known answers.

    python -m tools.evaluate_selection --data DIR --models DIR [--sets A,B] [--limit N]

What is meant is the largest connected part of each picture's truth. Prints for each set the mean overlap with
it (intersection over union, at half opacity) of the plain removal, of the listed subject that fits best,
after one click and after two; and how many subjects are listed. The first
click is the place deepest inside what is meant; the second the place deepest inside the largest error that is
left, on it or beside it. `--half` takes every second picture only: what is chosen by half 0 is reported on
half 1. `--data` and `--models` as for `tools/evaluate_mattes.py`. `--sheet` draws the
pictures that gained least and most.
"""

import argparse
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from matteworks_compositor.kernels.pointing.selection import Selection, Shown
from matteworks_compositor.kernels.pointing.subjects import Sighting
from matteworks_compositor.options.model import SubjectType
from matteworks_inference.subject.evidence import decode_boxes
from tools.evaluate_mattes import Case, Networks, our_matte

Bytes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
FIGURES: Final = ("plain", "by number", "one click", "two clicks", "listed")
TILE_PX: Final = 240
SHOWN: Final = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--sets", default="objects200,people150")
    parser.add_argument("--limit", type=int, default=10_000, help="pictures of each set, evenly taken")
    parser.add_argument("--half", type=int, choices=(0, 1))
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--cache", type=Path, help="keeps the networks' answers")
    arguments = parser.parse_args()
    networks = Networks(arguments.models, arguments.cache, 2)
    tiles: list[tuple[float, Bytes]] = []
    step = 1 if arguments.half is None else 2
    print(f"{'set':<14}{'pictures':>9}" + "".join(f"{name:>12}" for name in FIGURES))
    for set_name in arguments.sets.split(","):
        rows: list[list[float]] = []
        for case in _cases(arguments.data / set_name, arguments.limit)[arguments.half or 0 :: step]:
            overlaps, tile = _measure(networks, case)
            rows.append(overlaps)
            tiles.append((overlaps[3] - overlaps[0], tile))
        means = np.mean(rows, axis=0)
        print(f"{set_name:<14}{len(rows):>9}" + "".join(f"{mean:>12.3f}" for mean in means), flush=True)
    if arguments.sheet:
        ordered = [tile for _, tile in sorted(tiles, key=lambda entry: entry[0])]
        shown = ordered[:SHOWN] + ordered[-SHOWN:]
        Image.fromarray(np.vstack(shown)).save(arguments.sheet)


def _cases(folder: Path, limit: int) -> list[Case]:
    truths = sorted((folder / "masks").glob("*.png"))
    step = max(1, len(truths) // limit)
    cases = []
    for truth in truths[::step][:limit]:
        (picture,) = (folder / "images").glob(f"{truth.stem}.*")
        pixels = np.asarray(Image.open(picture).convert("RGB"))
        cases.append(Case(folder.name, truth.stem, pixels, np.asarray(Image.open(truth).convert("L"))))
    return cases


def _measure(networks: Networks, case: Case) -> tuple[list[float], Bytes]:
    truth = _largest_part(case.truth >= 128)
    plain, _ = our_matte(networks, case, "balanced")
    shown = Shown(case.picture, plain, _sightings(networks, case))
    by_number = [shown.select(Selection(subjects=[one.number])) for one in shown.subjects] or [plain]
    mattes = [plain, max(by_number, key=lambda matte: _overlap(matte >= 128, truth))]
    inside, outside = [_deepest(truth)], list[tuple[float, float]]()
    mattes.append(shown.select(Selection(inside, outside)))
    missed, added = truth & (mattes[-1] < 128), ~truth & (mattes[-1] >= 128)
    if missed.any() or added.any():
        is_missed = _depth(missed).max() >= _depth(added).max()
        (inside if is_missed else outside).append(_deepest(missed if is_missed else added))
    mattes.append(shown.select(Selection(inside, outside)))
    row = [case.picture.copy(), *(_on_grey(case.picture, matte) for matte in mattes)]
    for points, colour in ((inside, (0, 255, 0)), (outside, (255, 0, 0))):
        for x, y in points:
            cv2.circle(row[0], (int(x), int(y)), max(4, truth.shape[1] // 80), colour, -1)
    tile = np.hstack([np.asarray(cv2.resize(part, (TILE_PX, TILE_PX))) for part in row])
    overlaps = [_overlap(matte >= 128, truth) for matte in mattes]
    return [*overlaps, float(len(shown.subjects))], tile.astype(np.uint8)


def _sightings(networks: Networks, case: Case) -> list[Sighting]:
    evidence = networks.answers(case, ("codes", "labels"))
    return [
        Sighting(seen.label, SubjectType.UNSPECIFIED, *seen[1:])
        for seen in decode_boxes(evidence["codes"], evidence["labels"])
    ]


def _largest_part(truth: Flags) -> Flags:
    _, labels = cv2.connectedComponents(truth.astype(np.uint8))
    sizes = np.bincount(np.asarray(labels).ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax(), np.bool_)


def _depth(area: Flags) -> NDArray[np.float32]:
    framed = np.pad(area.astype(np.uint8), 1)
    return np.asarray(cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1], np.float32)


def _deepest(area: Flags) -> tuple[float, float]:
    y, x = np.unravel_index(int(_depth(area).argmax()), area.shape)
    return float(x), float(y)


def _overlap(found: Flags, truth: Flags) -> float:
    return float((found & truth).sum() / max((found | truth).sum(), 1))


def _on_grey(picture: Bytes, matte: Bytes) -> Bytes:
    share = matte[..., None].astype(np.float32) / 255
    return np.rint(picture * share + 128 * (1 - share)).astype(np.uint8)


if __name__ == "__main__":
    main()
