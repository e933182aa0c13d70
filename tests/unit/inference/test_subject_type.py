"""The subject's type: drawn evidence with one right answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from matteworks_inference.subject.evidence import (
    Detection,
    SubjectGuess,
    classify,
    decode_boxes,
    subject_for_routing,
)

ANCHOR_COUNT, LABEL_COUNT = 1917, 24
PERSON_ROW, DOG_ROW = 4, 20
TABBY_CAT, JEEP, TEAPOT, SUIT, SEAT_BELT, CAR_WHEEL, WEBSITE, CLIFF, AIRLINER = (
    281, 609, 849, 834, 785, 479, 916, 972, 404,
)  # fmt: skip


def sure_of(*classes: int) -> NDArray[np.float32]:
    logits = np.zeros(1000, np.float32)
    logits[list(classes)] = 12
    return logits


def raw_answers() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.zeros((ANCHOR_COUNT, 4), np.float32), np.full((ANCHOR_COUNT, LABEL_COUNT), -9, np.float32)


def matte_of(left: float, top: float, right: float, bottom: float) -> NDArray[np.uint8]:
    matte = np.zeros((200, 200), np.uint8)
    matte[round(top * 200) : round(bottom * 200), round(left * 200) : round(right * 200)] = 255
    return matte


def test_the_last_anchor_is_almost_the_whole_picture() -> None:
    codes, logits = raw_answers()
    logits[-1, PERSON_ROW] = 3
    (found,) = decode_boxes(codes, logits)
    assert found.label == "person"
    assert found.score == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-5)
    # Scale sqrt(0.95 · 1.0) around the middle.
    assert found[2:] == pytest.approx((0.0127, 0.0127, 0.9873, 0.9873), abs=1e-3)


def test_the_first_anchor_is_small_and_in_the_first_cell() -> None:
    codes, logits = raw_answers()
    logits[0, DOG_ROW] = 3
    (found,) = decode_boxes(codes, logits)
    centre = 0.5 / 19
    assert found[2:] == pytest.approx((0, 0, centre + 0.05, centre + 0.05), abs=1e-4)


def test_codes_move_and_scale_the_anchor() -> None:
    codes, logits = raw_answers()
    logits[-1, PERSON_ROW] = 3
    size = float(np.sqrt(0.95))
    codes[-1] = (1.0, -1.0, 5 * np.log(0.5), 5 * np.log(0.25))
    (found,) = decode_boxes(codes, logits)
    centre_x, centre_y = 0.5 - 0.1 * size, 0.5 + 0.1 * size
    wanted = (centre_x - size / 8, centre_y - size / 4, centre_x + size / 8, centre_y + size / 4)
    assert found[2:] == pytest.approx(wanted, abs=1e-4)


def test_one_thing_seen_twice_is_reported_once_by_its_surest_box() -> None:
    codes, logits = raw_answers()
    logits[-1, PERSON_ROW], logits[-6, PERSON_ROW] = 2, 3
    (found,) = decode_boxes(codes, logits)
    assert found.score == pytest.approx(1 / (1 + np.exp(-3)), abs=1e-5)


def test_faint_boxes_are_not_reported() -> None:
    codes, logits = raw_answers()
    assert decode_boxes(codes, logits) == []


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (TABBY_CAT, "animal"),
        (JEEP, "car"),
        (TEAPOT, "product"),
        (SEAT_BELT, "car_interior"),
        (CAR_WHEEL, "car_part"),
        (WEBSITE, "graphics"),
        (CLIFF, "other"),
        (AIRLINER, "transportation"),
    ],
)
def test_what_the_classifier_is_sure_of_is_believed(row: int, wanted: str) -> None:
    assert classify(sure_of(row), []).type == wanted


def test_a_box_that_covers_the_subject_makes_a_person_in_clothes() -> None:
    box = Detection("person", 0.4, 0.3, 0.1, 0.7, 0.9)
    assert classify(sure_of(SUIT), [box], matte_of(0.3, 0.1, 0.7, 0.9)).type == "person"


def test_clothes_without_anybody_are_a_product() -> None:
    assert classify(sure_of(SUIT), []).type == "product"


def test_a_sure_car_behind_a_person_does_not_win() -> None:
    person = Detection("person", 0.4, 0.4, 0.1, 0.6, 0.9)
    car = Detection("car", 0.7, 0.0, 0.4, 0.35, 0.6)
    assert classify(sure_of(SUIT), [car, person], matte_of(0.4, 0.1, 0.6, 0.9)).type == "person"


def test_the_same_boxes_are_a_car_when_the_matte_is_on_the_car() -> None:
    person = Detection("person", 0.4, 0.4, 0.1, 0.6, 0.9)
    car = Detection("car", 0.7, 0.0, 0.4, 0.35, 0.6)
    assert classify(sure_of(SUIT), [car, person], matte_of(0.0, 0.4, 0.35, 0.6)).type == "car"


def test_without_a_matte_the_middle_counts() -> None:
    middle = Detection("dog", 0.6, 0.25, 0.25, 0.75, 0.75)
    corner = Detection("person", 0.6, 0.0, 0.0, 0.2, 0.2)
    assert classify(np.zeros(1000, np.float32), [corner, middle]).type == "animal"


def test_confidence_is_a_half_when_two_types_are_as_strong() -> None:
    guess = classify(sure_of(JEEP), [])
    rival = classify(sure_of(JEEP, CLIFF), [])
    assert guess.confidence > 0.95
    assert 0.5 <= rival.confidence < 0.6


def test_an_unsure_guess_does_not_choose_networks() -> None:
    assert subject_for_routing(SubjectGuess("product", 0.55)) is None


def test_a_sure_guess_chooses_networks() -> None:
    assert subject_for_routing(SubjectGuess("car", 0.9)) == "car"
