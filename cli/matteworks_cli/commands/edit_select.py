"""`matteworks edit select`: what is in a picture, and the cut-out of what is pointed at or named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from matteworks_cli.administration import TargetOption
from matteworks_cli.commands.edit import PhotoArgument, StateOption, corners, editing, file_type
from matteworks_client import PictureSubject
from matteworks_deploy.failures import EXIT_USAGE, CommandFailed
from matteworks_deploy.local.options import DEFAULT_STATE_DIRECTORY


def select(
    photo: PhotoArgument,
    output: Annotated[
        Path | None,
        typer.Argument(
            help="The result; its ending says which file type. With --each the number goes before it.",
            dir_okay=False,
        ),
    ] = None,
    inside: Annotated[
        list[str] | None, typer.Option(help="X,Y of a place on what is wanted; may be repeated.")
    ] = None,
    outside: Annotated[
        list[str] | None, typer.Option(help="X,Y of a place on what is not wanted; may be repeated.")
    ] = None,
    box: Annotated[
        str, typer.Option(help="LEFT,TOP,RIGHT,BOTTOM around it in pixels or %: 10,20,50%,80%.")
    ] = "",
    subject: Annotated[
        list[int] | None, typer.Option(min=1, help="Number of a subject, see --list; may be repeated.")
    ] = None,
    each: Annotated[
        bool, typer.Option("--each", help="One file for each subject, or for each that is named.")
    ] = False,
    list_only: Annotated[bool, typer.Option("--list", help="Only say what is in the picture.")] = False,
    matte_output: Annotated[
        Path | None, typer.Option("--matte-output", help="Where the matte goes.", dir_okay=False)
    ] = None,
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Cut out what is pointed at or named by its number."""
    if list_only:
        with editing(target, state) as client:
            subjects = client.list_subjects(photo)
        for line in _described(subjects):
            typer.echo(line)
        return
    if output is None:
        raise CommandFailed("Say where the result goes, or give --list.", EXIT_USAGE)
    format_ = file_type(output)
    points = [_place(text) for text in inside or ()], [_place(text) for text in outside or ()]
    if each:
        if any(points) or box or matte_output:
            raise CommandFailed("Give --each with --subject alone, or by itself.", EXIT_USAGE)
        with editing(target, state) as client:
            for number, made in client.select_each(photo, subject or (), format=format_).items():
                path = output.with_stem(f"{output.stem}-{number}")
                path.write_bytes(made.cutout.image)
                typer.echo(path)
        return
    with editing(target, state) as client:
        chosen = client.select(
            photo, *points, box=corners(box) if box else None, subjects=subject or (), format=format_
        )
        output.write_bytes(chosen.cutout.image)
        if matte_output is not None:
            matte_output.write_bytes(chosen.matte)
    typer.echo(output)


def _described(subjects: list[PictureSubject]) -> list[str]:
    """A line each: number, what it is, how sure that is, how much of the picture, where."""
    lines = []
    for one in subjects:
        name = one.label or one.type.replace("_", " ") or "thing"
        score = f"{one.score:.0%}" if one.type else "-"
        box = one.box
        place = f"{box.left_px},{box.top_px},{box.left_px + box.width_px},{box.top_px + box.height_px}"
        lines.append(f"{one.number:>2}  {name:<18} {score:>4}  {one.coverage:>4.0%} of the picture  {place}")
    return lines or ["There is no subject in this picture."]


def _place(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError as error:
        raise CommandFailed(f"{text!r} is no place; write X,Y in pixels.", EXIT_USAGE) from error
    return x, y
