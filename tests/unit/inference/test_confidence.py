"""The confidence follows what the networks betray, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from matteworks_inference.tasks.segmentation.confidence import evidence_of, probability


def disc(level: int = 255, shift: int = 0, side: int = 300) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    inside = (rows - side / 2) ** 2 + (columns - side / 2 - shift) ** 2 < (side / 4) ** 2
    return np.where(inside, level, 0).astype(np.uint8)


def confidence(matte: np.ndarray, *answers: np.ndarray) -> float:
    return probability(*evidence_of(matte, {str(number): answer for number, answer in enumerate(answers)}))


def test_networks_that_agree_and_are_sure_give_the_most() -> None:
    assert confidence(disc(), disc(), disc()) > 0.85


def test_a_half_hearted_answer_and_a_dissenting_one_both_lower_it() -> None:
    sure = confidence(disc(), disc(), disc())
    assert confidence(disc(), disc(level=150), disc()) < sure
    assert confidence(disc(), disc(), disc(shift=60)) < confidence(disc(), disc(), disc(shift=20)) < sure


def test_an_empty_matte_has_almost_none() -> None:
    assert confidence(disc(level=0), disc()) < 0.01
    assert evidence_of(disc(), {}) == (0.0, 0.0)


def test_size_and_kind_of_an_answer_do_not_matter() -> None:
    as_floats = disc(side=300).astype(np.float32) / 255
    assert confidence(disc(side=600), disc(side=600)) == pytest.approx(
        confidence(disc(side=300), as_floats), abs=0.02
    )
