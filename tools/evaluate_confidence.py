#!/usr/bin/env python3
"""How well the confidence of a matte ranks its true overlap, on pictures with known answers.

    python -m tools.evaluate_confidence --data DIR --models DIR --sets objects200,people150,edges13

`--data`, `--models` and `--cache` as in tools/evaluate_mattes.py. The curve is fitted on every second picture
of each set and printed; what is reported is measured on the others with the numbers that the service has:
AUROC for overlaps below 0.8, Spearman's rank correlation with the overlap, and, in bins of confidence, how
many mattes were right. `--cached-only` leaves out pictures for which the cache has no answers.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from matteworks_inference.subject.evidence import classify, decode_boxes, subject_for_routing
from matteworks_inference.tasks.segmentation.confidence import GOOD_OVERLAP, evidence_of, probability
from matteworks_inference.tasks.segmentation.ensemble import PORTRAIT, blend, networks_needed, still_needed
from tools.evaluate_mattes import (
    Case,
    Networks,
    measure,
    portrait_short_side_px,
    read_cases,
    resized,
    squeezed,
)

Numbers = NDArray[np.float64]
RIDGE = 0.1
BINS = (0.0, 0.5, 0.7, 0.9, 1.01)


@dataclass(frozen=True)
class Judged:
    """One picture: evidence, confidence and true overlap."""

    set_name: str
    half: int
    strength: float
    agreement: float
    overlap: float

    @property
    def confidence(self) -> float:
        """What the service tells."""
        return probability(self.strength, self.agreement)


def judge(networks: Networks, case: Case, half: int) -> Judged:
    """The matte of `balanced`, and what is known of it."""
    evidence = networks.answers(case, ("logits", "codes", "labels"))
    guess = classify(evidence["logits"], decode_boxes(evidence["codes"], evidence["labels"]))
    subject = subject_for_routing(guess)
    height, width = case.picture.shape[:2]
    portrait = f"{PORTRAIT}{portrait_short_side_px('balanced', width, height)}"
    roles = networks_needed(subject, "balanced")
    names = {role: portrait if role == PORTRAIT else role for role in roles}
    answers: dict[str, NDArray[np.uint8] | NDArray[np.float32]] = {}
    while asked := still_needed(roles, answers, "balanced", subject):
        said = networks.answers(case, tuple(names[role] for role in asked))
        answers |= {role: said[names[role]] for role in asked}
    matte = blend(squeezed(case.picture), answers, subject, "balanced")
    overlap = measure(resized(matte, width, height), case.truth)[1]
    return Judged(case.set_name, half, *evidence_of(matte, answers), overlap)


def fit(judged: list[Judged]) -> Numbers:
    """Offset, weight of strength, weight of agreement: a logistic regression with a small ridge."""
    features = np.array([[one.strength, one.agreement] for one in judged])
    good = np.array([one.overlap >= GOOD_OVERLAP for one in judged], float)
    middle, spread = features.mean(0), features.std(0)
    rows = np.c_[np.ones(len(features)), (features - middle) / spread]
    penalty = RIDGE * np.diag([1e-6, 1, 1])
    weights = np.zeros(3)
    for _ in range(100):
        likely = 1 / (1 + np.exp(-rows @ weights))
        slope = rows.T @ (likely - good) + penalty @ weights
        curvature = rows.T @ (rows * (likely * (1 - likely))[:, None]) + penalty
        weights -= np.linalg.solve(curvature, slope)
    return np.r_[weights[0] - (weights[1:] * middle / spread).sum(), weights[1:] / spread]


def auroc(scores: Numbers, good: NDArray[np.bool_]) -> float:
    """The chance that a right matte has more confidence than a wrong one."""
    pairs = scores[good][:, None] - scores[~good][None, :]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean()) if pairs.size else float("nan")


def spearman(first: Numbers, second: Numbers) -> float:
    """Correlation of ranks."""
    ranks = [np.argsort(np.argsort(values)) for values in (first, second)]
    return float(np.corrcoef(*ranks)[0, 1])


def report(title: str, judged: list[Judged]) -> None:
    """One line of figures."""
    scores = np.array([one.confidence for one in judged])
    overlaps = np.array([one.overlap for one in judged])
    good = overlaps >= GOOD_OVERLAP
    brier = float(((scores - good) ** 2).mean())
    print(
        f"{title:12s} n={len(judged):3d} right={good.mean():.2f} AUROC={auroc(scores, good):.2f} "
        f"Spearman={spearman(scores, overlaps):.2f} Brier={brier:.3f}"
    )


def main() -> None:
    """Fit on one half, report on the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--sets", default="objects200,people150,edges13")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--cached-only", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    networks = Networks(arguments.models, arguments.cache, arguments.threads)
    judged: list[Judged] = []
    for name in arguments.sets.split(","):
        for number, case in enumerate(read_cases(arguments.data / name, 0, None)):
            cached = arguments.cache and (arguments.cache / f"{name}_{case.name}.npz").exists()
            if cached or not arguments.cached_only:
                judged.append(judge(networks, case, number % 2))
    fitted = fit([one for one in judged if one.half == 0])
    print("fitted on half 0: offset {:.2f}, strength {:.2f}, agreement {:.2f}".format(*fitted))
    others = [one for one in judged if one.half == 1]
    for name in arguments.sets.split(","):
        report(name, [one for one in others if one.set_name == name])
    report("together", others)
    for low, high in pairwise(BINS):
        inside = [one for one in others if low <= one.confidence < high]
        right = sum(one.overlap >= GOOD_OVERLAP for one in inside)
        print(f"confidence {low:.1f} to {min(high, 1):.1f}: {right} of {len(inside)} right")


if __name__ == "__main__":
    main()
