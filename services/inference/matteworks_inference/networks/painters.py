"""Networks that fill holes, such as LaMa and MI-GAN: what their authors fixed, as data.

None comes with this service: `models.toml` describes them, an operator puts the file into the model
directory and names it. `kind` is always `inpaint`: a picture and a mask in, a picture out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from matteworks_inference.networks.graph import Layout
from matteworks_inference.networks.registry import RegistryError, WrongWeights, verified

__all__ = ["PainterEntry", "find_painter", "load_painters", "parse_painters"]

_KIND = "inpaint"


@dataclass(frozen=True)
class PainterEntry:
    """One network. `sha256` is empty where not known. `sizes_px` are (width, height) of its input.

    It sees (pixel - mean) / deviation of 0..255 pixels, or bytes where its input is of bytes, and a mask that
    is `hole` where to paint and `known` elsewhere; it answers (pixel - answer_mean) / answer_deviation.
    Empty names take inputs by their order, picture first, and the first output. `prompt_input`: of a network
    that reads words, a tensor of one string.
    """

    name: str
    summary: str
    license: str
    file: str
    sha256: str
    sizes_px: tuple[tuple[int, int], ...]
    image_input: str
    mask_input: str
    prompt_input: str
    output: str
    layout: Layout
    mean: float
    deviation: float
    hole: float
    known: float
    answer_mean: float
    answer_deviation: float


def load_painters() -> tuple[PainterEntry, ...]:
    """Those of the registry that comes with the package. Raises RegistryError."""
    return parse_painters(resources.files(__package__).joinpath("models.toml").read_text("utf-8"))


def parse_painters(text: str) -> tuple[PainterEntry, ...]:
    """The [[painters]] of a registry in TOML. Raises RegistryError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RegistryError(f"The registry is not TOML: {error}") from error
    return tuple(_parse(table) for table in document.get("painters", []))


def find_painter(
    directory: Path, name: str, entries: tuple[PainterEntry, ...] | None = None
) -> tuple[PainterEntry, Path]:
    """The entry of that name, or the first whose file is in `directory` when it is empty, and the file.

    Raises WrongWeights, whose message says what to do: no such entry, no file, or another one.
    """
    if entries is None:
        entries = load_painters()
    for entry in entries:
        path = directory / entry.file
        if entry.name != name and (name or not path.is_file()):
            continue
        if not path.is_file():
            raise WrongWeights(
                f"Put the file of {entry.name} there as {path.resolve()}: it is never fetched."
            )
        return entry, verified(path, entry.name, entry.sha256)
    files = ", ".join(f"{entry.file} ({entry.name})" for entry in entries)
    if name:
        raise WrongWeights(f"No network that fills holes is named {name!r}; known are: {files}.")
    raise WrongWeights(
        f"There is no network that fills holes in {directory.resolve()}: put one of {files} there."
    )


def _parse(table: Mapping[str, Any]) -> PainterEntry:
    name = table.get("name", "without a name")
    try:
        if table["kind"] != _KIND:
            raise ValueError(f"kind must be {_KIND}")
        network = table["network"]
        file = str(table["file"])
        if Path(file).name != file:
            raise ValueError("file must be a name without a directory")
        sizes = tuple((int(width), int(height)) for width, height in table["input_sizes"])
        if not sizes or not all(64 <= side <= 4096 for size in sizes for side in size):
            raise ValueError("input_sizes must be sides of 64 to 4096")
        if not float(network["deviation"]) or not float(network["answer_deviation"]):
            raise ValueError("a deviation is 0")
        return PainterEntry(
            name=str(table["name"]),
            summary=str(table["summary"]),
            license=str(table["license"]),
            file=file,
            sha256=str(table.get("sha256", "")).lower(),
            sizes_px=sizes,
            image_input=str(network.get("image", "")),
            mask_input=str(network.get("mask", "")),
            prompt_input=str(network.get("prompt", "")),
            output=str(network.get("output", "")),
            layout=Layout(network["layout"]),
            mean=float(network["mean"]),
            deviation=float(network["deviation"]),
            hole=float(network["hole"]),
            known=float(network["known"]),
            answer_mean=float(network["answer_mean"]),
            answer_deviation=float(network["answer_deviation"]),
        )
    except KeyError as error:
        raise RegistryError(f"Painter {name}: field {error} is missing.") from error
    except (TypeError, ValueError) as error:
        raise RegistryError(f"Painter {name}: {error}.") from error
