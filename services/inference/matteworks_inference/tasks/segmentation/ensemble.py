"""From what several networks say of one picture to the one matte that is pasted.

Each network fails in its own way: the general one leaves weak, grey answers on subjects that it half
recognises; the small one is coarse but errs elsewhere; the portrait one knows hair and nothing but
people. So people are taken from the portrait network, with the general networks' veto against
background figures, and only where it agrees with them about what the subject is; everything else is a
weighted mean whose threshold follows how sure the mean itself is. What both general networks are sure
of, and the portrait one does not know (a helmet, a bag), stays with the person. Invariant: the
result depends on this picture's mattes alone, and a matte that is already 0 or 255 everywhere in every
network comes back unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from matteworks_imaging.resampling import averaged, grid_size
from matteworks_inference.tasks.segmentation.cleaning import cleaned
from matteworks_inference.tasks.segmentation.soft_edges import has_soft_contour, with_soft_edges

__all__ = [
    "GENERAL",
    "HARD_SUBJECTS",
    "PERSON",
    "PORTRAIT",
    "PORTRAYED",
    "SMALL",
    "Look",
    "blend",
    "fitted",
    "networks_needed",
    "second_look",
    "still_needed",
    "with_second_look",
]

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Quality: TypeAlias = Literal["fast", "balanced", "best"]

# The roles of the networks; the caller knows which model file plays which.
GENERAL: Final = "general"
SMALL: Final = "small"
PORTRAIT: Final = "portrait"

PERSON: Final = "person"
# Subjects that the portrait network is asked about whatever their contour looks like; None: unsure.
PORTRAYED: Final = (PERSON, None)
# Subjects without fur, hair or leaves.
HARD_SUBJECTS: Final = ("car", "transportation")

# Shares in the mean for anything but people. The small network is wrong more often, yet elsewhere:
# between 0.2 and 0.4 for it the mean error on objects moves by 3 %.
GENERAL_SHARE: Final = 0.7
SMALL_SHARE: Final = 0.3
# A half-recognised subject answers 0.3 to 0.5 where a recognised one answers 1, and its background
# stays near 0: so the threshold of the mean is this part of the picture's own strong answers.
WEAK_CENTRE: Final = 0.25
# Where the two general networks agree the subject is recognised, and a low threshold would only fatten
# it and let half-seen background in. Not the middle: that costs roofs and windows of cars.
SURE_CENTRE: Final = 0.40
# Their overlap (at 0.5) at which an answer counts as weak, and as sure.
WEAK_AGREEMENT, SURE_AGREEMENT = 0.6, 0.95
# One network alone cannot be checked: for people, whom it knows, its own middle is the contour.
PERSON_CENTRE: Final = 0.50
# Half width of the soft step around the threshold, as a part of it. Narrower cuts jaggies into real
# edges, wider brings the grey veils back.
STEP_HALF_WIDTH: Final = 0.4
# "The picture's own strong answers": this percentile of the answers that are above noise.
STRONG_PERCENTILE: Final = 90.0
NOISE_LEVEL: Final = 25

# The portrait network's share for people when all three ran, and when only it and the general one did.
PORTRAIT_SHARES: Final = {PORTRAIT: 0.65, GENERAL: 0.25, SMALL: 0.10}
PORTRAIT_SHARES_OF_TWO: Final = {PORTRAIT: 0.7, GENERAL: 0.3}
# Its edges are soft by nature (hair); this step keeps their middle slope and drops the tails.
PORTRAIT_STEP: Final = (0.25, 0.75)
# Where no general network answers more than this, the portrait network sees somebody else.
VETO_LEVEL: Final = 0.25
VETO_WIDTH: Final = 0.10
# Where the portrait network answers less than the first of these it is sure that nobody is there, and what
# the general ones see could only become a veil; from the second on their word counts.
PORTRAIT_VETO: Final = (0.02, 0.10)
# Overlap (intersection over union) above which the portrait network means the same subject. Full-body
# and portrait pictures of people: 0.74 at least; half of the objects: under 0.3.
SAME_SUBJECT_OVERLAP: Final = 0.7

# Overlap above which the portrait and the general network see the same person so exactly that the small one
# has nothing to add: three of four full-body people, half of the portraits.
SETTLED_OVERLAP: Final = 0.97

# The portrait network alone is overruled where both general networks answer at least this, if they agree
# over the whole picture (SURE_AGREEMENT). Both may take the sofa behind a person for the subject, yet then
# not the same part of it: in the three such pictures they overlapped by 0.77 to 0.86.
OVERRULING_LEVEL: Final = 0.75
# Such a place is thicker than twice this part of the diagonal: thinner ones are the rim of coarse mattes,
# or the gaps of hair. It is searched for at this longer side, and what is added reaches twice as far.
OVERRULING_RADIUS: Final = 0.01
OVERRULING_GRID_PX: Final = 256

# Strongest answers, of 255, from which on a network means something. To landscapes without a subject one of
# the two answers at least this; to an empty picture they answer 4 and 2, to a plain gradient 9 and 38.
FAINTEST_HINTS: Final = {GENERAL: 10, SMALL: 60}

# A subject that fills less of the frame than this is worth a second look at its own resolution.
SMALL_SUBJECT_AREA: Final = 0.35
LOOK_MARGIN: Final = 0.2


@dataclass(frozen=True, slots=True)
class Look:
    """A box of the picture, in pixels of the small picture, that deserves a run of its own."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the box."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def networks_needed(
    subject: str | None, quality: Quality, available: Collection[str] = (GENERAL, SMALL, PORTRAIT)
) -> tuple[str, ...]:
    """The roles to run for a picture of `subject` (a level-2 type; None: unsure), best voice first.

    Of those that are `available`; `fast` takes the quickest of the two that know every subject.
    """
    if quality == "fast":
        return tuple(role for role in (SMALL, GENERAL) if role in available)[:1]
    wanted = (GENERAL, SMALL) if subject in HARD_SUBJECTS else (GENERAL, SMALL, PORTRAIT)
    return tuple(role for role in wanted if role in available)


def still_needed(
    wanted: Collection[str],
    mattes: Mapping[str, Bytes | Floats],
    quality: Quality,
    subject: str | None = None,
) -> tuple[str, ...]:
    """Which of the `wanted` roles to run next, when `mattes` are there by role; () when it is enough.

    The small network waits until the portrait and the general one have seen a person; where they agree
    it is not asked. Only `balanced` saves there. About anything but people the portrait network waits for
    the general one, and is asked only where that shows a soft contour.
    """
    missing = tuple(role for role in wanted if role not in mattes)
    if subject not in PORTRAYED:
        if PORTRAIT in missing and not (GENERAL in mattes and has_soft_contour(_levels(mattes[GENERAL]))):
            missing = tuple(role for role in missing if role != PORTRAIT)
        return missing
    if quality != "balanced" or SMALL not in missing or not {GENERAL, PORTRAIT} <= set(wanted):
        return missing
    if not {GENERAL, PORTRAIT} <= mattes.keys():
        return tuple(role for role in missing if role != SMALL)
    height, width = mattes[GENERAL].shape
    general, portrait = (fitted(mattes[role], width, height) > 127 for role in (GENERAL, PORTRAIT))
    return () if _overlap(general, portrait) >= SETTLED_OVERLAP else missing


def blend(
    rgb_small: Bytes, mattes: Mapping[str, Bytes | Floats], subject: str | None, quality: Quality
) -> Bytes:
    """One matte of the size of `rgb_small` (h×w×3), from the networks' `mattes` by role.

    Each matte covers the whole picture in any size: 0..255 as uint8 or 0..1 as float. Networks that
    are missing are done without; with `fast` nothing but the threshold is applied.
    """
    height, width = rgb_small.shape[:2]
    sized = {role: fitted(matte, width, height) for role, matte in mattes.items()}
    if not sized:
        raise ValueError("a blend needs at least one matte")
    general = _mean(sized, {GENERAL: GENERAL_SHARE, SMALL: SMALL_SHARE})
    portrait = sized.get(PORTRAIT)
    if general is None:
        return _step(next(iter(sized.values())), *PORTRAIT_STEP)
    if quality == "fast":
        matte = _confident(general, PERSON_CENTRE if subject == PERSON else _centre(sized))
    elif portrait is not None and subject in PORTRAYED and _is_same_subject(general, portrait):
        matte = _with_what_both_saw(_person(sized, portrait), sized, general)
    else:
        matte = _confident(general, _centre(sized))
    if int(matte.max()) <= 127:
        return _hint(sized)
    if quality == "fast":
        return matte
    matte = cleaned(matte)
    if portrait is None or GENERAL not in sized or subject in HARD_SUBJECTS:
        return matte
    return with_soft_edges(rgb_small, matte, sized[GENERAL], portrait)


def second_look(matte: Bytes) -> Look | None:
    """Where a second run would see the subject larger, or None when it fills the frame already."""
    height, width = matte.shape
    rows = np.flatnonzero((matte > 127).sum(axis=1))
    columns = np.flatnonzero((matte > 127).sum(axis=0))
    if not len(rows):
        return None
    margin_x = round((columns[-1] - columns[0] + 1) * LOOK_MARGIN) + 8
    margin_y = round((rows[-1] - rows[0] + 1) * LOOK_MARGIN) + 8
    look = Look(
        max(0, int(columns[0]) - margin_x),
        max(0, int(rows[0]) - margin_y),
        min(width, int(columns[-1]) + 1 + margin_x),
        min(height, int(rows[-1]) + 1 + margin_y),
    )
    if (look.right - look.left) * (look.bottom - look.top) > SMALL_SUBJECT_AREA * width * height:
        return None
    return look


def with_second_look(
    mattes: Mapping[str, Bytes | Floats],
    look: Look,
    closer: Mapping[str, Bytes | Floats],
    size: tuple[int, int],
) -> dict[str, Bytes]:
    """The networks' `mattes` at `size` (width, height), averaged inside `look` with what they said of it.

    `closer` holds mattes of the box alone, by the same roles; a role that is missing there keeps its
    first answer. The result goes into `blend` in place of the first mattes: averaging before the
    threshold keeps what either look is sure of.
    """
    width, height = size
    merged = {role: fitted(matte, width, height).copy() for role, matte in mattes.items()}
    for role in merged.keys() & closer.keys():
        box = merged[role][look.slices]
        again = fitted(closer[role], look.right - look.left, look.bottom - look.top)
        box[:] = cv2.addWeighted(box, 0.5, again, 0.5, 0)
    return merged


def _hint(sized: Mapping[str, Bytes]) -> Bytes:
    """What a general network hints at in a picture without a clear subject, a landscape for example;
    nothing when none says more than it says of an empty one.
    """
    for role, faintest in FAINTEST_HINTS.items():
        heard = sized.get(role)
        if heard is not None and int(heard.max()) >= faintest:
            peak = int(heard.max()) / 255
            return _step(heard, *(bound * peak for bound in PORTRAIT_STEP))
    return np.zeros_like(next(iter(sized.values())))


def _person(sized: Mapping[str, Bytes], portrait: Bytes) -> Bytes:
    shares = PORTRAIT_SHARES if SMALL in sized else PORTRAIT_SHARES_OF_TWO
    mixed = _mean(sized, shares)
    if mixed is None:
        mixed = portrait
    heard = [sized[role] for role in (GENERAL, SMALL) if role in sized]
    loudest = heard[0] if len(heard) == 1 else cv2.max(heard[0], heard[1])
    # 255 where a general network sees the subject too, falling to 0 over the veto's width.
    ceiling = _ramp(np.asarray(loudest, np.uint8), VETO_LEVEL - VETO_WIDTH, VETO_LEVEL)
    matte = _step(np.asarray(cv2.min(mixed, ceiling), np.uint8), *PORTRAIT_STEP)
    return np.asarray(cv2.min(matte, _ramp(portrait, *PORTRAIT_VETO)), np.uint8)


def _with_what_both_saw(matte: Bytes, sized: Mapping[str, Bytes], mean: Bytes) -> Bytes:
    """A person's `matte`, and what both general networks see beyond it; `mean` is theirs."""
    general, small = sized.get(GENERAL), sized.get(SMALL)
    if general is None or small is None:
        return matte
    if _overlap(general > 127, small > 127) < SURE_AGREEMENT:
        return matte
    both = np.asarray(cv2.min(general, small), np.uint8)
    lone = cv2.bitwise_and(cv2.inRange(both, round(OVERRULING_LEVEL * 255), 255), cv2.inRange(matte, 0, 63))
    height, width = lone.shape
    columns, rows = grid_size(width, height, OVERRULING_GRID_PX)
    cells = cv2.resize(lone, (columns, rows), interpolation=cv2.INTER_AREA)
    radius = max(1, round(OVERRULING_RADIUS * float(np.hypot(columns, rows))))
    # Outside the picture nothing is known, so a place at its border is not thinner for it.
    thick = cv2.erode(cv2.inRange(cells, 254, 255), _disc(radius), borderValue=255)
    if not thick.any():
        return matte
    reach = cv2.resize(cv2.dilate(thick, _disc(2 * radius)), (width, height), interpolation=cv2.INTER_LINEAR)
    added = cv2.min(_confident(mean, _centre(sized)), reach)
    return np.asarray(cv2.max(matte, added), np.uint8)


def _disc(radius: int) -> Bytes:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _centre(sized: Mapping[str, Bytes]) -> float:
    """The threshold that the agreement of the general networks asks for."""
    general, small = sized.get(GENERAL), sized.get(SMALL)
    if general is None:
        return WEAK_CENTRE
    # A network that answers nothing between a quarter and three is sure whatever the other one says.
    agreement = _overlap(general > 63, general > 191)
    if small is not None:
        agreement = max(agreement, _overlap(general > 127, small > 127))
    centre = np.interp(agreement, (WEAK_AGREEMENT, SURE_AGREEMENT), (WEAK_CENTRE, SURE_CENTRE))
    return float(centre)


def _confident(matte: Bytes, centre: float) -> Bytes:
    """`matte` steepened around `centre`, measured in the picture's own strong answers."""
    counts = cv2.calcHist([matte], [0], None, [256], [0, 256]).ravel()
    counts[: NOISE_LEVEL + 1] = 0
    total = int(counts.sum())
    if not total:
        return np.zeros_like(matte)
    strong = int(np.searchsorted(counts.cumsum(), total * STRONG_PERCENTILE / 100)) / 255
    middle = centre * strong
    return _step(matte, middle * (1 - STEP_HALF_WIDTH), middle * (1 + STEP_HALF_WIDTH))


def _step(matte: Bytes, low: float, high: float) -> Bytes:
    """A smooth step from 0 at `low` to 255 at `high`."""
    t = _rise(low, high)
    return np.asarray(cv2.LUT(matte, np.rint(t * t * (3 - 2 * t) * 255).astype(np.uint8)), np.uint8)


def _ramp(matte: Bytes, low: float, high: float) -> Bytes:
    """0 up to `low`, 255 from `high` on, straight between."""
    return np.asarray(cv2.LUT(matte, np.rint(_rise(low, high) * 255).astype(np.uint8)), np.uint8)


def _rise(low: float, high: float) -> Floats:
    """For each of the 256 levels its way from `low` (0) to `high` (1)."""
    rise: Floats = np.clip((np.arange(256, dtype=np.float32) / 255 - low) / (high - low), 0, 1)
    return rise


def _mean(sized: Mapping[str, Bytes], shares: Mapping[str, float]) -> Bytes | None:
    """The weighted mean of the mattes that are there; None when none is."""
    present = [(role, share) for role, share in shares.items() if role in sized]
    if not present:
        return None
    total = sum(share for _, share in present)
    weighted = [(sized[role], share / total) for role, share in present]
    if len(weighted) == 1:
        return weighted[0][0]
    (first, one), (second, other), *others = weighted
    mean = cv2.addWeighted(first, one, second, other, 0, dtype=cv2.CV_32F)
    for matte, share in others:
        mean = cv2.addWeighted(mean, 1, matte, share, 0, dtype=cv2.CV_32F)
    return np.asarray(cv2.convertScaleAbs(mean), np.uint8)


def _levels(matte: Bytes | Floats) -> Bytes:
    if matte.dtype == np.uint8:
        return np.asarray(matte, np.uint8)
    return np.asarray(np.rint(np.clip(matte, 0, 1) * 255), np.uint8)


def fitted(matte: Bytes | Floats, width: int, height: int) -> Bytes:
    levels = _levels(matte)
    if levels.shape == (height, width):
        return levels
    if levels.size > width * height:
        return averaged(levels, width, height)
    return np.asarray(cv2.resize(levels, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _is_same_subject(general: Bytes, portrait: Bytes) -> bool:
    """Whether both answers are about one subject. The general one's threshold is its weak one."""
    return _overlap(general > round(WEAK_CENTRE * 255), portrait > 127) >= SAME_SUBJECT_OVERLAP


def _overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    union = int(np.count_nonzero(a | b))
    return 1.0 if union == 0 else int(np.count_nonzero(a & b)) / union
