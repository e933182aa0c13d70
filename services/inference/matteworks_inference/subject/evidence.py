"""What a picture shows, from a classifier's answers and a detector's boxes.

The detector knows people, cars and pets, and where they are; the classifier knows what most things are
called, but has no word for a person, only for what people wear. So each type gathers evidence from
both, a box counting by how well it covers the subject (the matte, or, before there is one, the
middle of the picture), and the strongest type wins. Invariant: a thing in the background, however
sure the detector is of it, cannot outvote the subject that the matte covers.

Both networks see the whole picture stretched to their square input, RGB; sides and normalisation are
the networks' own matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from matteworks_imaging.resampling import averaged

__all__ = [
    "DETECTOR_LABELS",
    "Detection",
    "SubjectGuess",
    "classify",
    "decode_boxes",
    "subject_for_routing",
    "subject_type_of",
]

Floats = NDArray[np.float32]

# The detector's rows, row 0 being nothing.
DETECTOR_LABELS: Final = (
    "", "bicycle", "boot", "laptop", "person", "chair", "cattle", "desk", "cat", "computer mouse",
    "computer monitor", "box", "mug", "coffee cup", "stationary bicycle", "table", "bottle", "high heels",
    "vehicle", "footwear", "dog", "book", "camera", "car",
)  # fmt: skip

# Geometry of the detector's anchors: side of each feature map in cells, scales from fine to coarse.
FEATURE_MAP_SIDES: Final = (19, 10, 5, 3, 2, 1)
FINEST_SCALE: Final = 0.2
COARSEST_SCALE: Final = 0.95
# How the box code is scaled: centre by ten, size by five.
CENTRE_CODE_SCALE: Final = 10.0
SIZE_CODE_SCALE: Final = 5.0
# The log of a size beyond this would overflow; no real box comes near.
LARGEST_SIZE_CODE: Final = 10.0
# Boxes of one label that overlap more than this are one thing.
SAME_THING_OVERLAP: Final = 0.5
# The detector is shy: a full-size person in the street scores 0.3 to 0.5. Below this it is noise.
LEAST_SCORE: Final = 0.1

# Grid on which matte and boxes are compared.
GRID_SIDE: Final = 100

# ImageNet-1k classes by what a person would call the subject. Animals are the first 398.
ANIMAL_CLASS_COUNT: Final = 398
CLASSES: Final[dict[str, tuple[int, ...]]] = {
    "car": (407, 436, 468, 511, 609, 627, 654, 656, 661, 717, 734, 751, 817),
    "car_part": (475, 479, 535, 581),
    "car_interior": (785,),
    "transportation": (
        403, 404, 405, 408, 417, 444, 466, 472, 484, 510, 547, 554, 555, 565, 569, 573, 575, 576, 586,
        595, 603, 612, 625, 628, 665, 670, 671, 675, 690, 705, 724, 757, 779, 780, 802, 803, 812, 814,
        820, 829, 833, 847, 864, 866, 867, 870, 871, 874, 880, 895, 914,
    ),
    "graphics": (916, 917, 918, 921, 922),
    "scene": (
        425, 437, 449, 460, 483, 497, 498, 500, 525, 536, 538, 580, 663, 668, 698, 706, 718, 727, 743,
        821, 825, 839, 853, 863, 873, 888, 900, 970, 972, 974, 975, 976, 977, 978, 979, 980,
    ),
    # Clothes and what is carried: the classifier's way of seeing people.
    "worn": (
        399, 400, 411, 433, 439, 445, 451, 452, 457, 459, 465, 474, 501, 514, 515, 518, 552, 560, 568,
        570, 578, 584, 601, 608, 610, 614, 615, 617, 619, 630, 638, 639, 643, 652, 655, 658, 667, 678, 683,
        689, 697, 715, 735, 747, 752, 775, 777, 793, 797, 801, 805, 808, 824, 834, 836, 837, 840, 841, 842,
        862, 869, 887, 889, 890, 903, 906, 911, 981, 982, 983,
    ),
}  # fmt: skip
PETS: Final = ("dog", "cat", "cattle")
THINGS: Final = (
    "boot", "laptop", "computer mouse", "computer monitor", "box", "mug", "coffee cup", "bottle",
    "high heels", "footwear", "book", "camera",
)  # fmt: skip
FURNITURE: Final = ("chair", "desk", "table")

# How much the classifier's share counts beside the detector's. People wear what shops sell, so
# clothes alone must not make a person; animals of which the detector knows none rest on the
# classifier alone.
WORN_WEIGHT: Final = 0.35
ANIMAL_WEIGHT: Final = 0.5
PET_WEIGHT: Final = 0.6
CAR_WEIGHT: Final = 0.45
TRANSPORTATION_WEIGHT: Final = 0.5
PRODUCT_WEIGHT: Final = 0.45
RARE_WEIGHT: Final = 0.6
# The detector sees chairs and tables behind people; they count less than other things.
FURNITURE_WEIGHT: Final = 0.5
# Clothes speak for a person from the first of these scores of a person on, in full from the second.
WORN_BY_SOMEBODY: Final = (0.08, 0.16)
SCENE_WEIGHT: Final = 0.4
# Portraits that were taken for products led by less than this. A person with a larger bicycle or in
# front of a taxi leads as something else by more.
ROUTING_CONFIDENCE: Final = 0.6
# Evidence below which nothing was recognised.
LEAST_EVIDENCE: Final = 0.12


class Detection(NamedTuple):
    """A thing that the detector saw: label, score 0..1, and its box as parts of width and height."""

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class SubjectGuess:
    """A level-2 type and how far it leads: 1 certain, 0.5 as strong as the next best."""

    type: str
    confidence: float


def decode_boxes(
    box_codes: Floats, class_logits: Floats, least_score: float = LEAST_SCORE
) -> list[Detection]:
    """The detector's raw answers (1917×4 as cy, cx, h, w; 1917×24 logits) as things, surest first."""
    anchors = _anchors()
    codes = box_codes.reshape(-1, 4)
    centre_y = codes[:, 0] / CENTRE_CODE_SCALE * anchors[:, 2] + anchors[:, 0]
    centre_x = codes[:, 1] / CENTRE_CODE_SCALE * anchors[:, 3] + anchors[:, 1]
    height = anchors[:, 2] * np.exp(np.minimum(codes[:, 2] / SIZE_CODE_SCALE, LARGEST_SIZE_CODE))
    width = anchors[:, 3] * np.exp(np.minimum(codes[:, 3] / SIZE_CODE_SCALE, LARGEST_SIZE_CODE))
    boxes = np.stack(
        (centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2), axis=1
    )
    boxes = np.clip(boxes, 0, 1).astype(np.float32)
    scores = 1 / (1 + np.exp(-class_logits.reshape(len(anchors), -1)))
    found: list[Detection] = []
    for column in range(1, len(DETECTOR_LABELS)):
        candidates = np.flatnonzero(scores[:, column] >= least_score)
        ordered = candidates[np.argsort(-scores[candidates, column], kind="stable")]
        kept: list[Floats] = []
        for index in ordered:
            box = boxes[index]
            if all(_overlap(box, other) <= SAME_THING_OVERLAP for other in kept):
                kept.append(box)
                left, top, right, bottom = (float(edge) for edge in box)
                score = float(scores[index, column])
                found.append(Detection(DETECTOR_LABELS[column], score, left, top, right, bottom))
    return sorted(found, key=lambda detection: -detection.score)


def classify(
    logits: Floats, detections: Sequence[Detection], matte: NDArray[np.uint8] | None = None
) -> SubjectGuess:
    """The type of the subject: one of person, product, animal, car, car_interior, car_part,
    transportation, graphics, other.

    `logits` are the classifier's 1000, before softmax. Without a `matte` (h×w, any size, stretched
    over the picture) the subject is taken to be in the middle.
    """
    shares = _class_shares(logits)
    seen = _seen(detections, _presence(matte))
    person = _strongest(seen, ("person",))
    worn = shares["worn"] * float(np.interp(person, WORN_BY_SOMEBODY, (0, 1)))
    for_sale = shares["product"] + shares["worn"] - worn
    evidence = {
        "person": person + WORN_WEIGHT * worn,
        "animal": ANIMAL_WEIGHT * shares["animal"] + PET_WEIGHT * _strongest(seen, PETS),
        "car": _strongest(seen, ("car",)) + CAR_WEIGHT * shares["car"],
        "transportation": TRANSPORTATION_WEIGHT * shares["transportation"]
        + _strongest(seen, ("bicycle", "vehicle")),
        "product": PRODUCT_WEIGHT * for_sale
        + max(_strongest(seen, THINGS), FURNITURE_WEIGHT * _strongest(seen, FURNITURE)),
        "car_part": RARE_WEIGHT * shares["car_part"],
        "car_interior": RARE_WEIGHT * shares["car_interior"],
        "graphics": RARE_WEIGHT * shares["graphics"],
        "other": SCENE_WEIGHT * shares["scene"],
    }
    first, second = sorted(evidence, key=lambda name: -evidence[name])[:2]
    if evidence[first] < LEAST_EVIDENCE:
        return SubjectGuess("other", 0.5)
    return SubjectGuess(first, evidence[first] / (evidence[first] + evidence[second]))


def subject_type_of(label: str) -> str:
    """The level-2 type of what the detector calls `label`."""
    if label in PETS:
        return "animal"
    if label in ("vehicle", "bicycle"):
        return "transportation"
    return label if label in ("person", "car") else "product"


def subject_for_routing(guess: SubjectGuess) -> str | None:
    """The type if it is sure enough to choose networks by, else None: then all of them are asked."""
    return guess.type if guess.confidence >= ROUTING_CONFIDENCE else None


def _anchors() -> Floats:
    """cy, cx, height, width of every anchor, in the order of the detector's rows."""
    scales = [*np.linspace(FINEST_SCALE, COARSEST_SCALE, len(FEATURE_MAP_SIDES)), 1.0]
    anchors: list[tuple[float, float, float, float]] = []
    for level, side in enumerate(FEATURE_MAP_SIDES):
        scale, between = float(scales[level]), float(np.sqrt(scales[level] * scales[level + 1]))
        if level == 0:
            shapes = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        else:
            shapes = [(scale, ratio) for ratio in (1.0, 2.0, 0.5, 3.0, 1 / 3)] + [(between, 1.0)]
        for row in range(side):
            for column in range(side):
                anchors += [
                    ((row + 0.5) / side, (column + 0.5) / side, size / ratio**0.5, size * ratio**0.5)
                    for size, ratio in shapes
                ]
    return np.array(anchors, np.float32)


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = float(width * height)
    union = float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - shared
    return shared / max(union, 1e-6)


def _class_shares(logits: Floats) -> dict[str, float]:
    exponents = np.exp(logits.ravel() - logits.max())
    probabilities = exponents / exponents.sum()
    shares = {name: float(probabilities[list(members)].sum()) for name, members in CLASSES.items()}
    shares["animal"] = float(probabilities[:ANIMAL_CLASS_COUNT].sum())
    # What is nothing else can be bought.
    shares["product"] = max(0.0, 1.0 - sum(shares.values()))
    return shares


def _presence(matte: NDArray[np.uint8] | None) -> Floats:
    """How much of the subject is in each cell of the grid; sums to 1."""
    if matte is not None and int(matte.max(initial=0)) > 127:
        presence = averaged(matte, GRID_SIDE, GRID_SIDE).astype(np.float32)
    else:
        ramp = np.hanning(GRID_SIDE + 2)[1:-1].astype(np.float32)
        presence = np.outer(ramp, ramp)
    return np.asarray(presence / presence.sum(), np.float32)


def _seen(detections: Sequence[Detection], presence: Floats) -> dict[str, float]:
    """For each label the score of its best box, weighted by how well the box covers the subject."""
    rows = np.flatnonzero(presence.sum(axis=1) > 0.1 / GRID_SIDE)
    columns = np.flatnonzero(presence.sum(axis=0) > 0.1 / GRID_SIDE)
    extent = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32) / np.float32(
        GRID_SIDE
    )
    seen: dict[str, float] = {}
    for detection in detections:
        box = np.array(detection[2:], np.float32)
        left, top, right, bottom = (round(float(edge) * GRID_SIDE) for edge in box)
        inside = float(presence[top:bottom, left:right].sum())
        weighted = detection.score * (inside * _overlap(box, extent)) ** 0.5
        seen[detection.label] = max(seen.get(detection.label, 0.0), weighted)
    return seen


def _strongest(seen: dict[str, float], labels: Sequence[str]) -> float:
    return max((seen.get(label, 0.0) for label in labels), default=0.0)
