"""Networks that take points and boxes: the SAM family, two files each.

An encoder looks at a picture once; a decoder answers points and boxes from what it saw, in some milliseconds.
Exports of one network differ in their input and in how it is framed, so the registry says that. None comes
with this service: `models.toml` describes them, an operator puts both files into the model directory.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib import resources
from pathlib import Path
from typing import Any

from matteworks_inference.networks.graph import Layout
from matteworks_inference.networks.registry import RegistryError, WrongWeights, verified

__all__ = ["Dialogue", "Framing", "PromptableEntry", "WeightsFile", "find_promptable", "parse_promptable"]


class Framing(Enum):
    """How a picture fills the encoder's input: in the corner of a square with zeros around it, as it is with
    its longer side at the square's, or stretched over the square.
    """

    PADDED = "padded"
    AS_IT_IS = "as_it_is"
    STRETCHED = "stretched"


class Dialogue(Enum):
    """How the decoder is asked: as the one that Segment Anything exports, or as EfficientSAM's."""

    SAM = "sam"
    EFFICIENT_SAM = "efficient_sam"


@dataclass(frozen=True)
class WeightsFile:
    """A file in the model directory; an empty `sha256` takes whatever lies there, and logs what it is."""

    file: str
    sha256: str


@dataclass(frozen=True)
class PromptableEntry:
    """One network. The encoder sees (pixel - mean) / deviation, per channel R, G, B of 0 to 255.

    `has_batch_axis`: whether its input begins with an axis of length 1.
    """

    name: str
    summary: str
    license: str
    dialogue: Dialogue
    encoder: WeightsFile
    decoder: WeightsFile
    side_px: int
    framing: Framing
    layout: Layout
    has_batch_axis: bool
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


def parse_promptable(text: str) -> tuple[PromptableEntry, ...]:
    """The [[promptable]] of a registry in TOML. Raises RegistryError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RegistryError(f"The registry is not TOML: {error}") from error
    return tuple(_parse(table) for table in document.get("promptable", []))


def find_promptable(
    directory: Path, entries: tuple[PromptableEntry, ...] | None = None
) -> tuple[PromptableEntry, Path, Path] | None:
    """The first entry whose two files lie in `directory`, encoder and decoder; None when there is none.

    Raises WrongWeights for a file with another sha256, and for half a network.
    """
    if entries is None:
        entries = parse_promptable(
            resources.files("matteworks_inference.networks").joinpath("models.toml").read_text("utf-8")
        )
    for entry in entries:
        there = [(directory / weights.file).is_file() for weights in (entry.encoder, entry.decoder)]
        if not any(there):
            continue
        if not all(there):
            missing = entry.decoder if there[0] else entry.encoder
            raise WrongWeights(f"{entry.name} needs {missing.file} in {directory.resolve()}, too.")
        return entry, _checked(entry, entry.encoder, directory), _checked(entry, entry.decoder, directory)
    return None


def _checked(entry: PromptableEntry, weights: WeightsFile, directory: Path) -> Path:
    return verified(directory / weights.file, entry.name, weights.sha256)


def _parse(table: Mapping[str, Any]) -> PromptableEntry:
    name = table.get("name", "without a name")
    try:
        seen = table["encoder"]
        side_px = int(seen["side"])
        if not 64 <= side_px <= 4096:
            raise ValueError("side must be 64 to 4096")
        return PromptableEntry(
            name=str(table["name"]),
            summary=str(table["summary"]),
            license=str(table["license"]),
            dialogue=Dialogue(table["dialogue"]),
            encoder=_file(seen),
            decoder=_file(table["decoder"]),
            side_px=side_px,
            framing=Framing(seen["framing"]),
            layout=Layout(seen["layout"]),
            has_batch_axis=bool(seen.get("has_batch_axis", True)),
            mean=_per_channel(seen["mean"]),
            deviation=_per_channel(seen["deviation"]),
        )
    except KeyError as error:
        raise RegistryError(f"Promptable network {name}: field {error} is missing.") from error
    except (TypeError, ValueError) as error:
        raise RegistryError(f"Promptable network {name}: {error}.") from error


def _file(table: Mapping[str, Any]) -> WeightsFile:
    file = str(table["file"])
    if Path(file).name != file:
        raise ValueError("file must be a name without a directory")
    return WeightsFile(file, str(table.get("sha256", "")).lower())


def _per_channel(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
