#!/usr/bin/env python3
"""How often the subject's type is right, on sets whose pictures show one kind of thing.

    python -m tools.evaluate_subjects --data DIR --models DIR [--cache CACHE]

`--data` holds people150, hair27, cars100 and products30, pictures under `images/` or directly; in
products30 a file called dog or cat and a number is an animal, every other a product. `--models` and
`--cache` are those of `tools/evaluate_mattes.py`. Prints the share of right answers before there is any
matte, by which networks are chosen, and after, which is what callers are told, and the wrong ones by name.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from matteworks_inference.subject.evidence import classify, decode_boxes
from matteworks_inference.tasks.segmentation.ensemble import GENERAL
from tools.evaluate_mattes import Case, Networks

TYPES = {"people150": "person", "hair27": "person", "cars100": "car", "products30": "product"}
PET = re.compile(r"(dog|cat)\d*")


def cases(folder: Path) -> Iterator[tuple[Case, str]]:
    """The pictures of one set, each with its right answer."""
    images = folder / "images"
    for path in sorted((images if images.is_dir() else folder).iterdir()):
        if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            continue
        picture = np.asarray(Image.open(path).convert("RGB"))
        is_pet = folder.name == "products30" and PET.fullmatch(path.stem)
        yield (
            Case(folder.name, path.stem, picture, picture[..., 0]),
            "animal" if is_pet else TYPES[folder.name],
        )


def main() -> None:
    """Measure every set that is there and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    networks = Networks(arguments.models, arguments.cache, arguments.threads)
    print("| set | pictures | before | after | wrong after |\n|---|---|---|---|---|")
    for name in TYPES:
        if not (arguments.data / name).is_dir():
            continue
        before, after, count = 0, 0, 0
        wrong: list[str] = []
        for case, right in cases(arguments.data / name):
            seen = networks.answers(case, ("logits", "codes", "labels", GENERAL))
            things = decode_boxes(seen["codes"], seen["labels"])
            matte = np.rint(np.clip(seen[GENERAL], 0, 1) * 255).astype(np.uint8)
            count += 1
            before += classify(seen["logits"], things).type == right
            told = classify(seen["logits"], things, matte).type
            after += told == right
            if told != right:
                wrong.append(f"{case.name} ({told})")
        print(
            f"| {name} | {count} | {before / count:.1%} | {after / count:.1%} | {', '.join(wrong)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
