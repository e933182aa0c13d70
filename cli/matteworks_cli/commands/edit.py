"""`matteworks edit`: crop, erase, fill, expand, upscale, correct and put back, by a running stack."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from matteworks_cli.administration import TargetOption
from matteworks_cli.certificates import certificates
from matteworks_client import MatteworksClient, MatteworksError, Stroke
from matteworks_client.choices import Format, Length
from matteworks_client.edits.messages import StrokeKind
from matteworks_deploy.failures import EXIT_USAGE, CommandFailed
from matteworks_deploy.local.options import DEFAULT_STATE_DIRECTORY
from matteworks_deploy.local.state import StateDirectory

_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif", ".tif": "tiff",
            ".tiff": "tiff", ".bmp": "bmp", ".gif": "gif"}  # fmt: skip
PhotoArgument = Annotated[Path, typer.Argument(help="The picture.", exists=True, dir_okay=False)]
OutputArgument = Annotated[
    Path, typer.Argument(help="The result; its ending says which file type.", dir_okay=False)
]
StateOption = Annotated[Path, typer.Option("--state-dir", help="State directory of a local stack.")]


def crop(
    photo: PhotoArgument,
    output: OutputArgument,
    box: Annotated[str, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM in pixels or %: 10,20,50%,80%.")] = "",
    ratio: Annotated[str, typer.Option(help="W:H: the largest part of it around the subject.")] = "",
    subject: Annotated[bool, typer.Option("--subject", help="The subject's box.")] = False,
    margin: Annotated[str, typer.Option(help="Room around the subject, in pixels or %.")] = "0",
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Cut a part out of a picture. Give one of --box, --ratio and --subject."""
    edges = corners(box) if box else None
    room = _length(margin)
    _edit(
        target,
        state,
        output,
        lambda client, format_: (
            client.crop(
                photo,
                box=edges,
                aspect_ratio=_ratio(ratio) if ratio else None,
                margin=(room, room, room, room) if subject else None,
                format=format_,
            ).image
        ),
    )


def erase(
    photo: PhotoArgument,
    output: OutputArgument,
    mask: Annotated[
        Path, typer.Option(help="Picture of the same size: white is filled.", exists=True, dir_okay=False)
    ],
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Fill a part of a picture from what is around it."""
    _edit(target, state, output, lambda client, format_: client.erase(photo, mask, format=format_).image)


def fill(
    photo: PhotoArgument,
    output: OutputArgument,
    mask: Annotated[
        Path, typer.Option(help="Picture of the same size: white is painted.", exists=True, dir_okay=False)
    ],
    prompt: Annotated[str, typer.Option(help="What to paint; needs a generative server.")],
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Paint a part of a picture as a prompt says. Without a prompt: `edit erase`."""
    _edit(
        target, state, output, lambda client, format_: client.fill(photo, mask, prompt, format=format_).image
    )


def expand(
    photo: PhotoArgument,
    output: OutputArgument,
    top: Annotated[int, typer.Option(min=0, help="Rows above.")] = 0,
    right: Annotated[int, typer.Option(min=0, help="Columns to the right.")] = 0,
    bottom: Annotated[int, typer.Option(min=0, help="Rows below.")] = 0,
    left: Annotated[int, typer.Option(min=0, help="Columns to the left.")] = 0,
    ratio: Annotated[str, typer.Option(help="W:H: as much as that needs.")] = "",
    prompt: Annotated[str, typer.Option(help="What to paint there; needs a generative server.")] = "",
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Make a picture larger on any side, filled with what its edge suggests."""
    borders = (top, right, bottom, left)
    _edit(
        target,
        state,
        output,
        lambda client, format_: (
            client.expand(
                photo,
                borders_px=borders if any(borders) else None,
                aspect_ratio=_ratio(ratio) if ratio else None,
                prompt=prompt,
                format=format_,
            ).image
        ),
    )


def upscale(
    photo: PhotoArgument,
    output: OutputArgument,
    scale: Annotated[int, typer.Option(help="2 or 4 times as wide and high; the default is 2.")] = 0,
    width: Annotated[int, typer.Option(min=0, help="Or: columns at most; the ratio stays.")] = 0,
    height: Annotated[int, typer.Option(min=0, help="Or: rows at most; the ratio stays.")] = 0,
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Make a picture larger and its details sharp."""
    if scale and (width or height):
        raise CommandFailed("Give --scale, or --width and --height; one of both.", EXIT_USAGE)
    times = scale or (None if width or height else 2)
    _edit(
        target,
        state,
        output,
        lambda client, format_: (
            client.upscale(
                photo,
                scale=cast(Literal[2, 4], times),
                width_px=width or None,
                height_px=height or None,
                format=format_,
            ).image
        ),
    )


def put_back(
    photo: PhotoArgument,
    edited: Annotated[
        Path, typer.Argument(help="The edited subject, transparent around it.", exists=True, dir_okay=False)
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The result; its ending says which file type.", dir_okay=False),
    ],
    at: Annotated[
        str, typer.Option(help="X,Y of its upper left corner; without it it has the picture's size.")
    ] = "",
    fill_old: Annotated[
        bool, typer.Option("--fill", help="Fill the old subject where it would still show.")
    ] = False,
    matte: Annotated[
        Path | None,
        typer.Option(help="With --fill: the old subject; else the network's.", exists=True, dir_okay=False),
    ] = None,
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Put a subject that was edited elsewhere back into its picture."""
    place = _place(at) if at else None
    _edit(
        target,
        state,
        output,
        lambda client, format_: (
            client.put_back(
                photo, edited, at=place, fill_old_subject=fill_old, matte=matte, format=format_
            ).image
        ),
    )


def brush(
    photo: PhotoArgument,
    output: OutputArgument,
    strokes: Annotated[
        Path | None,
        typer.Option(
            help='JSON file: [{"kind": "keep", "points": [[x, y], ...], "radius": 20}, ...].',
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="Picture of its size: white changes.", exists=True, dir_okay=False),
    ] = None,
    mask_kind: Annotated[str, typer.Option(help="What the mask says: keep, erase or restore.")] = "erase",
    matte: Annotated[
        Path | None,
        typer.Option(help="Matte to correct; else the network's.", exists=True, dir_okay=False),
    ] = None,
    matte_output: Annotated[
        Path | None, typer.Option("--matte-output", help="Where the corrected matte goes.", dir_okay=False)
    ] = None,
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Cut the subject out, corrected by strokes (keep, erase, restore) or by a mask."""
    drawn = _strokes(strokes) if strokes else []
    mattes: list[bytes] = []

    def correct(client: MatteworksClient, format_: Format) -> bytes:
        corrected = client.correct(
            photo,
            drawn,
            matte=matte,
            mask=mask,
            mask_kind=cast(StrokeKind, mask_kind) if mask else None,
            format=format_,
        )
        mattes.append(corrected.matte)
        return corrected.cutout.image

    _edit(target, state, output, correct)
    if matte_output is not None:
        matte_output.write_bytes(mattes[0])


def _edit(
    target: str, state_path: Path, output: Path, make: Callable[[MatteworksClient, Format], bytes]
) -> None:
    """Reach the stack, make the picture, write it. Raises CommandFailed."""
    format_ = file_type(output)
    with editing(target, state_path) as client:
        output.write_bytes(make(client, format_))
    typer.echo(output)


def file_type(output: Path) -> Format:
    """What the ending says. Raises CommandFailed."""
    format_ = _FORMATS.get(output.suffix.lower())
    if format_ is None:
        raise CommandFailed(f"{output}: the ending is one of {', '.join(_FORMATS)}.", EXIT_USAGE)
    return cast(Format, format_)


@contextmanager
def editing(target: str, state_path: Path) -> Iterator[MatteworksClient]:
    """A client of the stack; what goes wrong with it is a CommandFailed."""
    facts = StateDirectory(state_path).read_facts()
    target = target or (facts.internal_target if facts else "")
    if not target:
        raise CommandFailed(
            f"No stack runs in {state_path}; start one with `matteworks up`, or give --target.", EXIT_USAGE
        )
    try:
        with MatteworksClient(target, tls_directory=certificates(state_path)) as client:
            yield client
    except MatteworksError as error:
        raise CommandFailed(f"{error.reason_name}: {error.message}") from error
    except (OSError, ValueError) as error:
        raise CommandFailed(str(error), EXIT_USAGE) from error


def corners(text: str) -> tuple[Length, Length, Length, Length]:
    """LEFT,TOP,RIGHT,BOTTOM of --box. Raises CommandFailed."""
    edges = [_length(part) for part in text.split(",")]
    if len(edges) != 4:
        raise CommandFailed("--box has four values: LEFT,TOP,RIGHT,BOTTOM.", EXIT_USAGE)
    return edges[0], edges[1], edges[2], edges[3]


def _length(text: str) -> Length:
    value = text.strip().removesuffix("px")
    if value.isdecimal():
        return int(value)
    if value.endswith("%"):
        return value
    raise CommandFailed(f"{text!r} is no length; give pixels or a share such as 10%.", EXIT_USAGE)


def _place(text: str) -> tuple[int, int]:
    left, _, top = text.partition(",")
    if not (left.strip().isdecimal() and top.strip().isdecimal()):
        raise CommandFailed(f"{text!r} is no place; write X,Y in pixels, such as 120,80.", EXIT_USAGE)
    return int(left), int(top)


def _ratio(text: str) -> tuple[int, int]:
    width, _, height = text.partition(":")
    if not (width.isdecimal() and height.isdecimal()):
        raise CommandFailed(f"{text!r} is no ratio; write W:H, such as 16:9.", EXIT_USAGE)
    return int(width), int(height)


def _strokes(path: Path) -> list[Stroke]:
    try:
        return [
            Stroke(entry["kind"], [(x, y) for x, y in entry["points"]], float(entry.get("radius", 20)))
            for entry in json.loads(path.read_text("utf-8"))
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = '[{"kind": "keep", "points": [[10, 20]], "radius": 20}]'
        raise CommandFailed(f"{path} holds no strokes; write {remedy}.", EXIT_USAGE) from error
