"""The contact sheet: every kind of shadow on every subject, from drawings, cut-outs and photographs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from tools.drawn_subjects import bottle
from tools.shadow_sheet import (
    TILE_HEIGHT_PX,
    TILE_WIDTH_PX,
    VARIANTS,
    draw_subjects,
    read_subjects,
    render_sheet,
)

from matteworks_compositor.options.model import SubjectType
from tests.support.fake_inference import running_inference

UNUSED_TARGET = "127.0.0.1:1"


async def test_the_sheet_has_a_row_for_each_subject_and_a_column_for_each_variant() -> None:
    subjects = draw_subjects()[:2]
    sheet = await render_sheet(subjects, UNUSED_TARGET)
    assert sheet.shape == (len(subjects) * TILE_HEIGHT_PX, len(VARIANTS) * TILE_WIDTH_PX, 3)


async def test_cut_outs_need_no_inference(tmp_path: Path) -> None:
    rgba = bottle(200)
    cv2.imwrite(str(tmp_path / "bottle.png"), cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))
    (tmp_path / "notes.txt").write_text("not a picture")
    subjects = read_subjects(tmp_path, SubjectType.PRODUCT)
    assert [(subject.name, subject.has_alpha) for subject in subjects] == [("bottle", True)]
    sheet = await render_sheet(subjects, UNUSED_TARGET)
    assert sheet.shape[0] == TILE_HEIGHT_PX


async def test_photographs_get_their_mattes_from_the_inference_service(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((160, 200, 3), 150, np.uint8))
    subjects = read_subjects(tmp_path, SubjectType.UNSPECIFIED)
    assert not subjects[0].has_alpha
    async with running_inference() as inference:
        sheet = await render_sheet(subjects, inference.target)
    assert sheet.shape[0] == TILE_HEIGHT_PX
