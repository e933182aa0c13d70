"""Render every kind of shadow on several subjects to one PNG, to look at.

    python -m tools.shadow_sheet --out shadows.png
    python -m tools.shadow_sheet FOLDER --inference HOST:PORT --out shadows.png

Without a folder the subjects are drawn by code. A folder holds cut-outs (PNG with transparency) or
photographs; photographs need the address of a running inference service for their mattes. Every tile
goes through the compositor's own pipeline, so the sheet shows what a caller gets: the car shadow is drawn
for cars only (`--type car` says that a folder holds cars).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import grpc
import numpy as np
from numpy.typing import NDArray

from matteworks_common.stages import Stages
from matteworks_compositor.inference_client import InferenceClient
from matteworks_compositor.options.model import (
    CropMargins,
    OutputFormat,
    RenderOptions,
    ShadowChoice,
    ShadowType,
    SubjectType,
)
from matteworks_compositor.pipeline.job import Job
from matteworks_compositor.pipeline.pipeline import Pipeline, build_steps
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.encoding import encode_png
from matteworks_imaging.limits import admit_file
from matteworks_imaging.region import Length, Unit
from tools.drawn_subjects import DRAWN_SUBJECTS

Bytes8 = NDArray[np.uint8]

TILE_WIDTH_PX, TILE_HEIGHT_PX, LABEL_HEIGHT_PX = 300, 260, 18
# Subjects from a folder are made smaller first: the sheet shows tiles.
LONGEST_SIDE_PX = 900
INFERENCE_TIMEOUT_S = 60.0
CHECKERBOARD, WHITE, GREY, COLOUR = "checkerboard", (255, 255, 255), (128, 128, 128), (236, 196, 120)
MARGIN = Length(6.0, Unit.PERCENT)
CROP = CropMargins(MARGIN, MARGIN, MARGIN, MARGIN)


@dataclass(frozen=True)
class Variant:
    """One column: a shadow, a geometry, and what lies behind."""

    name: str
    kind: ShadowType
    backdrop: str | tuple[int, int, int]
    crop: CropMargins | None = None
    scale_percent: float | None = None
    opacity_percent: int | None = None


DRAWN_TYPES = {"dog": SubjectType.ANIMAL, "person": SubjectType.PERSON, "car": SubjectType.CAR}
VARIANTS = (
    Variant("drop", ShadowType.DROP, WHITE),
    Variant("drop, cropped", ShadowType.DROP, CHECKERBOARD, crop=CROP),
    Variant("drop, scale 60 %", ShadowType.DROP, COLOUR, scale_percent=60),
    Variant("3D", ShadowType.THREE_D, WHITE),
    Variant("3D, cropped", ShadowType.THREE_D, CHECKERBOARD, crop=CROP),
    Variant("3D, scale 60 %", ShadowType.THREE_D, GREY, scale_percent=60),
    Variant("car", ShadowType.CAR, WHITE),
    Variant("car, cropped", ShadowType.CAR, CHECKERBOARD, crop=CROP),
    Variant("car, scale 60 %", ShadowType.CAR, COLOUR, scale_percent=60),
)


@dataclass(frozen=True)
class Subject:
    """A file to cut out; `has_alpha` says that it is a cut-out already.

    `type` UNSPECIFIED: whatever the inference service finds.
    """

    name: str
    content: bytes
    has_alpha: bool
    type: SubjectType


def main() -> None:
    parser = argparse.ArgumentParser(description="Render every kind of shadow to one PNG.")
    parser.add_argument(
        "folder", nargs="?", type=Path, help="cut-outs or photographs; default: drawn subjects"
    )
    parser.add_argument("--out", type=Path, default=Path("shadows.png"), help="the PNG to write")
    parser.add_argument("--inference", help="host:port of an inference service, for photographs")
    types = [subject_type.name.lower() for subject_type in SubjectType]
    parser.add_argument("--type", choices=types, default="unspecified", help="what the folder shows")
    arguments = parser.parse_args()
    subjects = (
        read_subjects(arguments.folder, SubjectType[arguments.type.upper()])
        if arguments.folder
        else draw_subjects()
    )
    if not subjects:
        sys.exit(f"{arguments.folder} holds no PNG, JPEG or WebP file")
    if arguments.inference is None and not all(subject.has_alpha for subject in subjects):
        sys.exit("photographs need --inference HOST:PORT for their mattes; cut-outs do not")
    sheet = asyncio.run(render_sheet(subjects, arguments.inference or "127.0.0.1:1"))
    arguments.out.write_bytes(encode_png(sheet))
    print(f"{arguments.out}: {sheet.shape[1]} × {sheet.shape[0]}, {len(subjects)} subjects")


def draw_subjects() -> list[Subject]:
    """The subjects that are drawn by code."""
    return [
        Subject(name, encode_png(draw(480)), True, DRAWN_TYPES.get(name, SubjectType.PRODUCT))
        for name, draw in DRAWN_SUBJECTS.items()
    ]


def read_subjects(folder: Path, subject_type: SubjectType) -> list[Subject]:
    """Every picture of `folder` by name, made smaller where it is large."""
    subjects = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in {".png", ".jpg", ".jpeg", ".webp"}:
            continue
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.ndim == 2:
            continue
        scale = min(1.0, LONGEST_SIDE_PX / max(pixels.shape[:2]))
        pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        has_alpha = pixels.shape[2] == 4 and bool((pixels[..., 3] < 255).any())
        order = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
        rgb = np.asarray(cv2.cvtColor(pixels, order), np.uint8)
        content = encode_png(rgb if has_alpha else np.ascontiguousarray(rgb[..., :3]))
        subjects.append(Subject(path.stem, content, has_alpha, subject_type))
    return subjects


async def render_sheet(subjects: list[Subject], inference_target: str) -> Bytes8:
    """The sheet, H×W×3 RGB: a row for each subject, a column for each variant."""
    with ThreadPoolExecutor(1) as executor:
        async with grpc.aio.insecure_channel(inference_target) as channel:
            pipeline = Pipeline(
                build_steps(Decoder(), InferenceClient(channel, INFERENCE_TIMEOUT_S)), executor
            )
            rows = [
                np.hstack([await render_tile(pipeline, subject, variant) for variant in VARIANTS])
                for subject in subjects
            ]
    return np.asarray(np.vstack(rows), np.uint8)


async def render_tile(pipeline: Pipeline, subject: Subject, variant: Variant) -> Bytes8:
    """One result of the pipeline, fitted into a labelled tile."""
    job = Job(
        request_id="shadow-sheet",
        picture=admit_file(subject.content),
        options=RenderOptions(
            format=OutputFormat.PNG,
            crop=variant.crop,
            scale_percent=variant.scale_percent,
            shadows={SubjectType.UNSPECIFIED: ShadowChoice(variant.kind, variant.opacity_percent)},
            semitransparency=False,
        ),
        declared_type=subject.type,
        brought_matte=np.full((1, 1), 255, np.uint8) if subject.has_alpha else None,
    )
    state = await pipeline.run(job, Stages())
    decoded = cv2.imdecode(np.frombuffer(state.encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None:
        raise RuntimeError("the pipeline returned no picture")
    return _tile(np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA), np.uint8), subject, variant)


def _tile(rgba: Bytes8, subject: Subject, variant: Variant) -> Bytes8:
    height, width = rgba.shape[:2]
    room = TILE_HEIGHT_PX - LABEL_HEIGHT_PX
    scale = min((TILE_WIDTH_PX - 8) / width, (room - 8) / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    over = np.dstack((rgba[..., :3] * (rgba[..., 3:] / 255.0), rgba[..., 3:])).astype(np.float32)
    over = np.asarray(cv2.resize(over, size, interpolation=cv2.INTER_AREA), np.float32)
    below = _backdrop(variant.backdrop, size)
    tile = np.full((TILE_HEIGHT_PX, TILE_WIDTH_PX, 3), 64, np.uint8)
    left, top = (TILE_WIDTH_PX - size[0]) // 2, LABEL_HEIGHT_PX + (room - size[1]) // 2
    mixed = over[..., :3] + below * (1 - over[..., 3:] / 255)
    tile[top : top + size[1], left : left + size[0]] = np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)
    label = f"{subject.name}: {variant.name}"
    cv2.putText(tile, label, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, WHITE, 1, cv2.LINE_AA)
    return tile


def _backdrop(backdrop: str | tuple[int, int, int], size: tuple[int, int]) -> NDArray[np.float32]:
    if not isinstance(backdrop, str):
        return np.full((size[1], size[0], 3), backdrop, np.float32)
    rows, columns = np.indices((size[1], size[0])) // 10
    squares = np.where((rows + columns) % 2, 255, 206).astype(np.float32)
    return np.repeat(squares[..., None], 3, axis=2)


if __name__ == "__main__":
    main()
