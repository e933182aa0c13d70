"""The call that a page has just made, as a program in the words of a provider.

Nothing that a visitor types gets into a program unchecked: choices come from closed sets, the origin is that
of the site.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BACKGROUNDS: Final = ("none", "colour", "picture")
SHADOWS: Final = ("none", "auto", "drop", "3D", "car", "original")
FORMATS: Final = ("png", "jpg", "webp")
SIZES: Final = ("auto", "preview")
MARGINS: Final = ("0", "5", "10")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_MEDIA_TYPES: Final = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class Choices:
    """What a visitor asked for."""

    background: str = "none"
    colour: str = "#ffffff"
    shadow: str = "none"
    crop: bool = False
    margin_percent: str = "0"
    format: str = "png"
    size: str = "auto"


@dataclass(frozen=True, slots=True)
class Call:
    """One request. `left_out` names what the provider's API has no word for."""

    path: str
    key_header: str
    headers: Mapping[str, str]
    image_field: str
    fields: Mapping[str, str]
    background_field: str
    left_out: tuple[str, ...]
    suffix: str


@dataclass(frozen=True, slots=True)
class Provider:
    """A public API. `sizes` are the fields that ask for our sizes; `lacks` is what it has no word for."""

    name: str
    title: str
    path: str
    key_header: str = "X-Api-Key"
    image_field: str = "image_file"
    colour_field: str = "bg_color"
    sizes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()
    format_by_accept: bool = False
    # It colours what is opaque anyway, and nothing else.
    colours_jpeg_alone: bool = False

    def call(self, choices: Choices) -> Call:
        """The request that asks this provider for `choices`, as far as it can be asked."""
        fields = dict(self.sizes.get(choices.size, {}))
        background_field = ""
        if not self.format_by_accept:
            fields["format"] = choices.format
        wanted = {
            "background": choices.background != "none",
            "background picture": choices.background == "picture",
            "shadow": choices.shadow != "none",
            "crop": choices.crop,
            "margin": choices.crop and choices.margin_percent != "0",
        }
        lacks = self.lacks
        if self.colours_jpeg_alone and choices.background == "colour" and choices.format != "jpg":
            lacks = lacks | {"background"}
        left_out = [what for what, is_wanted in wanted.items() if is_wanted and what in lacks]
        if choices.background == "colour" and "background" not in lacks:
            fields[self.colour_field] = choices.colour.lstrip("#")
        if choices.background == "picture" and not self.lacks & {"background", "background picture"}:
            background_field = "bg_image_file"
        if choices.shadow != "none" and "shadow" not in self.lacks:
            fields["shadow_type"] = choices.shadow
        if choices.crop and "crop" not in self.lacks:
            fields["crop"] = "true"
            if wanted["margin"] and "margin" not in self.lacks:
                fields["crop_margin"] = f"{choices.margin_percent}%"
        headers = {"Accept": _MEDIA_TYPES[choices.format]} if self.format_by_accept else {}
        return Call(
            self.path,
            self.key_header,
            headers,
            self.image_field,
            fields,
            background_field,
            tuple(left_out),
            choices.format,
        )


_AUTO_OR_PREVIEW: Final = {"auto": {"size": "auto"}, "preview": {"size": "preview"}}
PROVIDERS: Final = (
    Provider("removebg", "remove.bg", "/v1.0/removebg", sizes=_AUTO_OR_PREVIEW),
    Provider("bgeraser", "bgeraser", "/v1/removebg", sizes=_AUTO_OR_PREVIEW, colours_jpeg_alone=True),
    Provider(
        "photoroom",
        "Photoroom",
        "/v1/segment",
        key_header="x-api-key",
        sizes={"auto": {"size": "full"}, "preview": {"size": "preview"}},
        lacks=frozenset({"shadow", "background picture", "margin"}),
    ),
    Provider(
        "clipdrop",
        "ClipDrop",
        "/remove-background/v1",
        key_header="x-api-key",
        lacks=frozenset({"background", "shadow", "crop", "margin"}),
        format_by_accept=True,
    ),
    Provider(
        "slazzer",
        "Slazzer",
        "/v2.0/remove_image_background",
        key_header="API-KEY",
        image_field="source_image_file",
        colour_field="bg_color_code",
        sizes={"preview": {"preview": "true"}},
        lacks=frozenset({"shadow", "background picture", "margin"}),
    ),
)
LANGUAGES: Final = {"curl": "curl", "python": "Python", "node": "Node"}


def read_choices(query: Mapping[str, str]) -> Choices:
    """The choices of a form. What is not among the known ones is the default."""

    def one_of(name: str, allowed: tuple[str, ...]) -> str:
        value = query.get(name, "")
        return value if value in allowed else allowed[0]

    colour = query.get("colour", "")
    return Choices(
        background=one_of("background", BACKGROUNDS),
        colour=colour if _COLOUR.fullmatch(colour) else "#ffffff",
        shadow=one_of("shadow", SHADOWS),
        crop=query.get("crop", "") == "true",
        margin_percent=one_of("margin", MARGINS),
        format=one_of("format", FORMATS),
        size=one_of("size", SIZES),
    )


def find_provider(name: str) -> Provider:
    """The provider of that name; the first when there is none."""
    return next((provider for provider in PROVIDERS if provider.name == name), PROVIDERS[0])


def program(language: str, origin: str, call: Call) -> str:
    """A program that makes `call` at `origin` and writes `cutout.png` (or jpg, webp)."""
    writers = {"curl": _curl, "python": _python, "node": _node}
    return writers.get(language, _curl)(origin, call)


def _curl(origin: str, call: Call) -> str:
    lines = [f"curl {origin}{call.path}", f'-H "{call.key_header}: $MATTEWORKS_API_KEY"']
    lines += [f'-H "{name}: {value}"' for name, value in call.headers.items()]
    lines.append(f"-F {call.image_field}=@photo.jpg")
    if call.background_field:
        lines.append(f"-F {call.background_field}=@background.jpg")
    lines += [f"-F {name}={value}" for name, value in call.fields.items()]
    lines.append(f"--fail-with-body -o cutout.{call.suffix}")
    return " \\\n  ".join(lines) + "\n"


def _python(origin: str, call: Call) -> str:
    files = [f'"{call.image_field}": open("photo.jpg", "rb")']
    if call.background_field:
        files.append(f'"{call.background_field}": open("background.jpg", "rb")')
    headers = [f'"{call.key_header}": os.environ["MATTEWORKS_API_KEY"]']
    headers += [f'"{name}": "{value}"' for name, value in call.headers.items()]
    data = ", ".join(f'"{name}": "{value}"' for name, value in call.fields.items())
    data_line = f"    data={{{data}}},\n" if data else ""
    return (
        "import os\nimport requests\n\n"
        "response = requests.post(\n"
        f'    "{origin}{call.path}",\n'
        f"    headers={{{', '.join(headers)}}},\n"
        f"    files={{{', '.join(files)}}},\n"
        f"{data_line})\n"
        "response.raise_for_status()\n"
        f'open("cutout.{call.suffix}", "wb").write(response.content)\n'
    )


def _node(origin: str, call: Call) -> str:
    lines = [f'form.append("{call.image_field}", new Blob([await readFile("photo.jpg")]), "photo.jpg");']
    if call.background_field:
        lines.append(
            f'form.append("{call.background_field}", new Blob([await readFile("background.jpg")]), '
            '"background.jpg");'
        )
    lines += [f'form.append("{name}", "{value}");' for name, value in call.fields.items()]
    headers = [f'"{call.key_header}": process.env.MATTEWORKS_API_KEY']
    headers += [f'"{name}": "{value}"' for name, value in call.headers.items()]
    return (
        'import { readFile, writeFile } from "node:fs/promises";\n\n'
        "const form = new FormData();\n" + "\n".join(lines) + "\n"
        f'const response = await fetch("{origin}{call.path}", {{\n'
        '  method: "POST",\n'
        f"  headers: {{ {', '.join(headers)} }},\n"
        "  body: form,\n"
        "});\n"
        "if (!response.ok) throw new Error(await response.text());\n"
        f'await writeFile("cutout.{call.suffix}", Buffer.from(await response.arrayBuffer()));\n'
    )
