"""The registry's promptable networks, and what decoders are told."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from matteworks_inference.networks.promptable import Framing, find_promptable, parse_promptable
from matteworks_inference.networks.registry import RegistryError, WrongWeights
from matteworks_inference.tasks.selection.prompt import Prompt
from tests.support.tiny_promptable import write_promptable

TABLE = """
[[promptable]]
name = "ours"
summary = "For tests."
license = "Apache-2.0"
dialogue = "sam"
[promptable.encoder]
file = "mobile-sam.encoder.onnx"
side = 1024
framing = "as_it_is"
layout = "nhwc"
has_batch_axis = false
mean = [0, 0, 0]
deviation = [1, 1, 1]
[promptable.decoder]
file = "mobile-sam.decoder.onnx"
"""


def test_the_registry_describes_the_family() -> None:
    text = resources.files("matteworks_inference.networks").joinpath("models.toml").read_text("utf-8")
    entries = parse_promptable(text)
    assert {entry.name for entry in entries} == {"mobile-sam", "sam", "efficient-sam"}
    assert {entry.framing for entry in entries} == {Framing.AS_IT_IS, Framing.PADDED}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('dialogue = "sam"', 'dialogue = "words"', "words"),
        ("side = 1024", "side = 8", "side"),
        ('license = "Apache-2.0"\n', "", "license"),
        ("mobile-sam.decoder.onnx", "../decoder.onnx", "without a directory"),
        ("mean = [0, 0, 0]", "mean = [0]", "ours"),
    ],
)
def test_a_wrong_entry_is_told_by_name(before: str, after: str, told: str) -> None:
    with pytest.raises(RegistryError, match=told):
        parse_promptable(TABLE.replace(before, after))


def test_another_checksum_is_refused(tmp_path: Path) -> None:
    write_promptable(tmp_path)
    entries = parse_promptable(TABLE + f'sha256 = "{"0" * 64}"\n')
    with pytest.raises(WrongWeights, match="sha256"):
        find_promptable(tmp_path, entries)
    assert find_promptable(tmp_path / "elsewhere", entries) is None


def test_places_are_scaled_and_a_box_is_two_of_them() -> None:
    alone = Prompt([(10, 20)], [(30, 40)], None)
    places, labels = alone.coordinates((2, 0.5), pads=True)
    assert np.array_equal(places, [(20, 10), (60, 20), (0, 0)])
    assert np.array_equal(labels, [1, 0, -1])
    assert len(alone.coordinates((2, 0.5), pads=False)[1]) == 2
    boxed = Prompt([], [], (1, 2, 3, 4)).coordinates((1, 1), pads=True)
    assert np.array_equal(boxed[0], [(1, 2), (3, 4)])
    assert np.array_equal(boxed[1], [2, 3])
