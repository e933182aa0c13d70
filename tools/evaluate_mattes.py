#!/usr/bin/env python3
"""Measure our mattes against the plain pipeline of the peer, on pictures with known answers.

    python tools/evaluate_mattes.py --data DIR --models DIR [--sheet sheet.png] [--half 0|1] [--limit N]

`--data` holds one folder per set with `images/` and `masks/` or `alpha/` (same stem, PNG); `--models`
holds isnet.onnx, u2netp.onnx and modnet.onnx. Prints, per set and way: mae, iou, biou (near the true
contour), soft (share of half-transparent pixels beyond the truth's), sad (thousands), recall, edge (mean
error near the true contour). The plain
pipeline is one network, the picture stretched to its input, the answer scaled to its own minimum and
maximum and enlarged. `--cache` keeps the networks' answers, so that a second run needs no network.
Each way runs the networks that the service runs for that quality, the second look of `best` included.
`--half` measures every second picture only: thresholds are fitted on half 0 and reported on half 1.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from matteworks_compositor.kernels.matte_upsampling import upsample_matte
from matteworks_inference.picture import Picture
from matteworks_inference.subject.evidence import classify, decode_boxes, subject_for_routing
from matteworks_inference.subject.networks import SubjectNetworks
from matteworks_inference.tasks.segmentation.ensemble import (
    GENERAL,
    PORTRAIT,
    PORTRAYED,
    SMALL,
    Look,
    Quality,
    blend,
    networks_needed,
    second_look,
    still_needed,
    with_second_look,
)
from matteworks_inference.tasks.segmentation.matting import matted

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
LARGEST_SIDE_PX = 1024
FIGURES = ("mae", "iou", "biou", "soft", "sad", "recall", "edge")
WAYS: tuple[Quality, ...] = ("fast", "balanced", "best")
WORST_COUNT = 12
TILE_PX = 240


@dataclass
class Case:
    """One picture with its truth."""

    set_name: str
    name: str
    picture: Bytes
    truth: Bytes


class Networks:
    """The matting networks, opened at first use, their answers kept in a folder."""

    def __init__(self, folder: Path, cache: Path | None, thread_count: int) -> None:
        self._folder, self._cache, self._thread_count = folder, cache, thread_count
        self._sessions: dict[str, Any] = {}
        self._subjects: SubjectNetworks | None = None

    def answers(self, case: Case, wanted: tuple[str, ...], look: Look | None = None) -> dict[str, Floats]:
        """What the networks named in `wanted` say, from the cache where it has them.

        Of the picture, or of the box `look` of the squeezed picture alone.
        """
        if look is not None:
            box = f"{look.left}-{look.top}-{look.right}-{look.bottom}"
            part = np.ascontiguousarray(squeezed(case.picture)[look.slices])
            closer = Case(case.set_name, f"{case.name}@{box}", part, part[..., 0])
            return self.answers(closer, wanted)
        path = self._cache / f"{case.set_name}_{case.name}.npz" if self._cache else None
        known: dict[str, Floats] = {}
        if path and path.exists():
            with np.load(path) as stored:
                known = {name: stored[name].astype(np.float32) for name in stored.files}
        missing = [name for name in wanted if name not in known]
        for name in missing:
            known[name] = self._compute(name, case.picture)
        if path and missing:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, **{name: answer.astype(np.float16) for name, answer in known.items()})  # type: ignore[arg-type]
        return known

    def _compute(self, name: str, picture: Bytes) -> Floats:
        small = squeezed(picture)
        height, width = picture.shape[:2]
        if name == "plain":
            stretched = Image.fromarray(picture).resize((1024, 1024), Image.Resampling.LANCZOS)
            pixels = np.asarray(stretched, np.float32)
            return self._run("isnet.onnx", pixels / max(float(pixels.max()), 1e-6) - 0.5)
        if name == GENERAL:
            return self._run("isnet.onnx", (resized(small, 1024, 1024).astype(np.float32) - 128) / 256)
        if name == SMALL:
            scaled = resized(small, 320, 320).astype(np.float32) / 255
            mean, deviation = np.array((0.485, 0.456, 0.406)), np.array((0.229, 0.224, 0.225))
            answer = self._run("u2netp.onnx", (scaled - mean) / deviation)
            return np.asarray((answer - answer.min()) / max(float(np.ptp(answer)), 1e-6), np.float32)
        if name.startswith(PORTRAIT):
            scale = int(name.removeprefix(PORTRAIT)) / min(width, height)
            scale = (
                min(scale, LARGEST_SIDE_PX / max(width, height))
                if scale * max(width, height) > 1024
                else scale
            )
            size = [max(32, round(side * scale / 32) * 32) for side in (width, height)]
            return self._run("modnet.onnx", resized(small, *size).astype(np.float32) / 127.5 - 1)
        if self._subjects is None:
            self._subjects = SubjectNetworks()
        evidence = self._subjects.look(Picture(small, width, height))
        return np.asarray(
            {"logits": evidence.logits, "codes": evidence.box_encodings, "labels": evidence.class_logits}[
                name
            ]
        )

    def _run(self, file: str, pixels: NDArray[Any]) -> Floats:
        session = self._sessions.get(file)
        if session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self._thread_count
            options.log_severity_level = 3
            session = onnxruntime.InferenceSession(
                str(self._folder / file), options, providers=["CPUExecutionProvider"]
            )
            self._sessions[file] = session
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)
        (answer,) = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: planes})
        return np.asarray(answer[0, 0], np.float32)


def resized(image: Bytes, width: int, height: int) -> Bytes:
    """`image` in that size, averaged when it shrinks."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = width < image.shape[1] or height < image.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def squeezed(picture: Bytes) -> Bytes:
    """The picture as the compositor sends it: each side at most 1024."""
    height, width = picture.shape[:2]
    return resized(picture, min(width, LARGEST_SIDE_PX), min(height, LARGEST_SIDE_PX))


def plain_matte(answer: Floats, picture: Bytes) -> Bytes:
    """The peer's way: scaled by the picture's own extremes, enlarged, pasted."""
    scaled = (answer - answer.min()) / max(float(np.ptp(answer)), 1e-9)
    image = Image.fromarray((scaled * 255).astype(np.uint8))
    height, width = picture.shape[:2]
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


# Short side at which the portrait network looks, and looks for `best` where the picture has as much to
# show: at 768 the error on hair is a fifth lower and the run two to three times as long. Enlarging a
# smaller picture to it made full-body people 8 % worse instead.
PORTRAIT_SHORT_SIDE_PX: Final = 512
PORTRAIT_BEST_SHORT_SIDE_PX: Final = 768


def portrait_short_side_px(quality: Quality, source_width_px: int, source_height_px: int) -> int:
    """The short side of the portrait network's input for a picture of that size."""
    if quality == "best" and min(source_width_px, source_height_px) >= PORTRAIT_BEST_SHORT_SIDE_PX:
        return PORTRAIT_BEST_SHORT_SIDE_PX
    return PORTRAIT_SHORT_SIDE_PX


def our_matte(networks: Networks, case: Case, quality: Quality) -> tuple[Bytes, str]:
    """Our alpha for the whole picture, and the type that it was routed by."""
    evidence = networks.answers(case, ("logits", "codes", "labels"))
    guess = classify(evidence["logits"], decode_boxes(evidence["codes"], evidence["labels"]))
    subject = subject_for_routing(guess)
    height, width = case.picture.shape[:2]
    sized_for: Quality = quality if subject in PORTRAYED else "balanced"
    portrait = f"{PORTRAIT}{portrait_short_side_px(sized_for, width, height)}"
    roles = networks_needed(subject, quality)
    names = {role: portrait if role == PORTRAIT else role for role in roles}
    mattes: dict[str, Bytes | Floats] = {}
    while asked := still_needed(roles, mattes, quality, subject):
        answers = networks.answers(case, tuple(names[role] for role in asked))
        mattes |= {role: answers[names[role]] for role in asked}
    small = squeezed(case.picture)
    matte = blend(small, mattes, subject, quality)
    look = second_look(matte) if quality == "best" else None
    if look is not None:
        closer = networks.answers(case, (GENERAL, SMALL), look)
        mattes = {**with_second_look(mattes, look, closer, (small.shape[1], small.shape[0]))}
        matte = blend(small, mattes, subject, quality)
    if quality == "best":
        is_close = portrait_short_side_px(quality, width, height) == PORTRAIT_BEST_SHORT_SIDE_PX
        matte = matted(small, matte, mattes, subject, is_close=is_close)
    return upsample_matte(case.picture, matte), guess.type


def measure(alpha: Bytes, truth: Bytes) -> tuple[float, ...]:
    """The figures of one picture, in the order of FIGURES."""
    a, t = np.asarray(alpha / 255, np.float32), np.asarray(truth / 255, np.float32)
    p, g = a > 0.5, t > 0.5
    side = max(3, int(0.02 * float(np.hypot(*truth.shape)))) | 1
    around, mask = np.ones((side, side), np.uint8), g.astype(np.uint8)
    near = cv2.dilate(mask, around) != cv2.erode(mask, around)

    def overlap(x: NDArray[np.bool_], y: NDArray[np.bool_]) -> float:
        union = np.count_nonzero(x | y)
        return 1.0 if union == 0 else float(np.count_nonzero(x & y) / union)

    def soft(x: Floats) -> float:
        return float(((x > 0.1) & (x < 0.9)).mean())

    difference = np.abs(a - t)
    recall = float(np.count_nonzero(p & g) / max(1, int(np.count_nonzero(g))))
    return (
        float(difference.mean()), overlap(p, g), overlap(p & near, g & near), soft(a) - soft(t),
        float(difference.sum()) / 1000, recall, float(difference[near].mean()) if near.any() else 0.0,
    )  # fmt: skip


def read_cases(folder: Path, limit: int, half: int | None) -> Iterator[Case]:
    """The pictures of one set."""
    truths = next(folder / name for name in ("alpha", "masks") if (folder / name).is_dir())
    pictures = sorted((folder / "images").iterdir())
    if half is not None:
        pictures = pictures[half::2]
    if limit:
        pictures = pictures[:: max(1, len(pictures) // limit)][:limit]
    for path in pictures:
        picture = np.asarray(Image.open(path).convert("RGB"))
        truth = Image.open(truths / f"{path.stem}.png").convert("L")
        if truth.size != picture.shape[1::-1]:
            truth = truth.resize(picture.shape[1::-1], Image.Resampling.BILINEAR)
        yield Case(folder.name, path.stem, picture, np.asarray(truth))


def tile(image: Bytes) -> Image.Image:
    """`image` in one cell of the sheet."""
    cell = Image.new("RGB", (TILE_PX, TILE_PX), "white")
    shown = Image.fromarray(image).convert("RGB")
    shown.thumbnail((TILE_PX, TILE_PX))
    cell.paste(shown, ((TILE_PX - shown.width) // 2, 0))
    return cell


def sheet_row(case: Case, plain: Bytes, ours: Bytes, caption: str) -> Image.Image:
    """Picture, truth, plain, ours, and where ours errs (red: too much, blue: too little)."""
    error = ours.astype(np.int16) - case.truth
    shown = np.full((*error.shape, 3), 255, np.uint8)
    shown[..., 1] = 255 - np.minimum(np.abs(error), 255)
    shown[..., 2] = 255 - np.clip(error, 0, 255)
    shown[..., 0] = 255 - np.clip(-error, 0, 255)
    row = Image.new("RGB", (5 * TILE_PX, TILE_PX + 16), "white")
    for column, image in enumerate((case.picture, case.truth, plain, ours, shown)):
        row.paste(tile(image), (column * TILE_PX, 16))
    ImageDraw.Draw(row).text((2, 2), caption, fill="black")
    return row


def main() -> None:
    """Measure every set, print the table, write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--sets", default="", help="comma-separated; default: every folder with truths")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--half", type=int, choices=(0, 1))
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    names = arguments.sets.split(",") if arguments.sets else sorted(
        folder.name for folder in arguments.data.iterdir()
        if (folder / "masks").is_dir() or (folder / "alpha").is_dir()
    )  # fmt: skip
    ways = [way for way in WAYS if way in arguments.ways.split(",")]
    networks = Networks(arguments.models, arguments.cache, arguments.threads)
    rows: list[Image.Image] = []
    for name in names:
        figures: dict[str, list[tuple[float, ...]]] = {way: [] for way in ("plain", *ways)}
        seen: list[tuple[float, Image.Image]] = []
        for case in read_cases(arguments.data / name, arguments.limit, arguments.half):
            plain = plain_matte(networks.answers(case, ("plain",))["plain"], case.picture)
            figures["plain"].append(measure(plain, case.truth))
            for way in ways:
                ours, subject = our_matte(networks, case, way)
                figures[way].append(measure(ours, case.truth))
                if arguments.sheet and way == ways[-1]:
                    caption = (
                        f"{name} {case.name} [{subject}] mae plain {figures['plain'][-1][0]:.3f}"
                        f" {way} {figures[way][-1][0]:.3f}"
                    )
                    seen.append((-figures[way][-1][0], sheet_row(case, plain, ours, caption)))
                    # Only the worst are kept in memory, the worst first.
                    seen = sorted(seen, key=lambda item: item[0])[:WORST_COUNT]
        base = np.mean(figures["plain"], axis=0)
        for label, values in figures.items():
            mean = np.mean(values, axis=0)
            table = " ".join(f"{figure}={value:.4f}" for figure, value in zip(FIGURES, mean, strict=True))
            print(
                f"{name:12s} {label:9s} n={len(values):3d} {table}  mae x{mean[0] / base[0]:.3f}", flush=True
            )
        rows += [row for _, row in seen]
    if arguments.sheet and rows:
        sheet = Image.new("RGB", (rows[0].width, rows[0].height * len(rows)))
        for index, row in enumerate(rows):
            sheet.paste(row, (0, index * row.height))
        sheet.save(arguments.sheet)
        print(f"wrote {arguments.sheet}", file=sys.stderr)


if __name__ == "__main__":
    main()
