"""`matteworks remove`: cut-outs of photos through the REST API of any running stack."""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from matteworks_cli.photos import Order, Photo, order_photos
from matteworks_cli.rest_client import Refused, RestClient, write_result
from matteworks_deploy.failures import EXIT_FAILED, EXIT_USAGE, CommandFailed
from matteworks_deploy.local.options import DEFAULT_PORT, DEFAULT_STATE_DIRECTORY
from matteworks_deploy.local.state import StateDirectory

# The result that is asked for without --also.
MAIN_OUTPUT = "main"
# What a result may be, by the format that was asked for: known before anything is spent.
SUFFIXES = {
    "png": ("png",),
    "jpg": ("jpg",),
    "webp": ("webp",),
    "webp_lossless": ("webp",),
    "avif": ("avif",),
    "zip": ("zip",),
    "auto": ("png", "jpg"),
}


def remove(
    photos: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.", metavar="PHOTO...")],
    directory: Annotated[
        Path, typer.Option("-o", "--output", help="Directory of the results; made when missing.")
    ] = Path("cutouts"),
    base_url: Annotated[
        str,
        typer.Option(
            "--base-url",
            envvar="MATTEWORKS_BASE_URL",
            help="The server; without it: the stack that runs in --state-dir.",
        ),
    ] = "",
    key: Annotated[
        str,
        typer.Option(
            "--key", envvar="MATTEWORKS_API_KEY", help="API key; without it: that of the local stack."
        ),
    ] = "",
    size: Annotated[str, typer.Option(help="preview, full, auto …")] = "auto",
    output_format: Annotated[str, typer.Option("--format", help=f"One of {', '.join(SUFFIXES)}.")] = "png",
    bg_color: Annotated[str, typer.Option(help="Colour behind the subject: ffffff, #a1b2c3, red …")] = "",
    bg_image: Annotated[
        Path | None, typer.Option(help="Picture behind the subject.", exists=True, dir_okay=False)
    ] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Cut off the empty border.")] = False,
    crop_margin: Annotated[str, typer.Option(help="Room around a cropped subject: 30px, 10%.")] = "",
    crop_aspect_ratio: Annotated[
        str, typer.Option("--crop-aspect-ratio", help="Crop, with room on two sides up to this ratio: 4:5.")
    ] = "",
    shadow: Annotated[
        str, typer.Option(help="Shadow: none, drop, 3D, car, auto; original keeps that of a plain backdrop.")
    ] = "",
    despill: Annotated[
        bool, typer.Option("--despill", help="Take light of the old background out of the edges.")
    ] = False,
    despill_color: Annotated[
        str, typer.Option(help="That light's colour: 00b140, green …; without it the background's own.")
    ] = "",
    despill_strength: Annotated[str, typer.Option(help="How much of it is taken out: 0 to 100.")] = "",
    holes: Annotated[
        str, typer.Option(help="What the subject encloses: keep fills it, clear opens it to the background.")
    ] = "",
    keep_metadata: Annotated[
        bool, typer.Option("--keep-metadata", help="EXIF data, resolution and colour profile stay.")
    ] = False,
    quality: Annotated[str, typer.Option(help="Time for the matte: fast, balanced, best.")] = "",
    model: Annotated[
        str, typer.Option(help="The network by name, for equal results; `matteworks models list` names them.")
    ] = "",
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="NAME:FIELD=VALUE,…",
            help="One more result of the same matte and charge, as PHOTO.NAME.SUFFIX; up to 7 times: "
            "thumb:format=jpg,max_side=256 or mask:channels=alpha.",
        ),
    ] = None,
    max_side: Annotated[str, typer.Option(help="Pixels of the longer side at most.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and tell the price; nothing is done.")
    ] = False,
    fields: Annotated[
        list[str] | None, typer.Option("--field", help="Any other API parameter, as NAME=VALUE.")
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Of folders, also what lies below them.")
    ] = False,
    patterns: Annotated[
        list[str] | None,
        typer.Option("--pattern", help="Of folders, only such paths: '*.jpg', '2024/*'."),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="Photos in flight.")] = 4,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")] = False,
    state: Annotated[
        Path, typer.Option("--state-dir", help="State directory of a local stack.")
    ] = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Remove the background of photos.

    Each result is DIRECTORY/NAME.FORMAT; what comes from a folder keeps its path below that folder.
    An existing file is kept unless --overwrite is given, so a folder can be run again and only what is
    missing is sent. Exit code 1 when any photo failed; the others are written all the same.
    """
    if output_format not in SUFFIXES:
        raise CommandFailed(f"--format is one of {', '.join(SUFFIXES)}.", EXIT_USAGE)
    parameters = {
        "size": size,
        "format": output_format,
        "bg_color": bg_color,
        "crop": "true" if crop else "",
        "crop_margin": crop_margin,
        "crop_aspect_ratio": crop_aspect_ratio,
        "shadow_type": shadow,
        "despill": "true" if despill else "",
        "despill_color": despill_color,
        "despill_strength": despill_strength,
        "holes": holes,
        "keep_metadata": "true" if keep_metadata else "",
        "max_side": max_side,
        "quality": quality,
        "model": model,
        **named_fields(fields or []),
    }
    if also:
        parameters |= {"outputs": outputs_field(also), "outputs_as": "zip"}
    base_url, key = reach(base_url, key, state)
    try:
        if not dry_run:
            directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(f"{directory} cannot be made: {error.strerror}.", EXIT_USAGE) from error
    order = order_photos(
        photos,
        directory,
        SUFFIXES[output_format],
        patterns=patterns or (),
        is_recursive=recursive,
        is_overwriting=overwrite,
    )
    with RestClient(base_url, key) as client:

        def cut(photo: Photo) -> Path:
            cutout = client.remove_background(photo.path, parameters, bg_image)
            if also:
                return _write_members(cutout.image, photo.target, overwrite)
            path = photo.target.with_name(f"{photo.target.name}.{cutout.suffix}")
            write_result(path, cutout.image, overwrite)
            return path

        if dry_run:
            failure_count = _tell_prices(
                order, lambda photo: client.preview(photo.path, parameters, bg_image)
            )
        else:
            failure_count = _cut_all(order, cut, jobs)
    if failure_count:
        photo_count = len(order.wanted) + len(order.refused)
        raise CommandFailed(f"{failure_count} of {photo_count} photos failed.", EXIT_FAILED)


def reach(base_url: str, key: str, state_path: Path) -> tuple[str, str]:
    """Server and key: as given, else those of the local stack in `state_path`."""
    state = StateDirectory(state_path)
    facts = state.read_facts()
    key = key or state.read_dev_key() or ""
    if not key:
        raise CommandFailed("No API key; give --key or set MATTEWORKS_API_KEY.", EXIT_USAGE)
    return base_url or (facts.base_url if facts else f"http://127.0.0.1:{DEFAULT_PORT}"), key


def _cut_all(order: Order, cut: Callable[[Photo], Path], jobs: int) -> int:
    """Cut every photo, say what became of each, and return how many failed."""
    console = Console(stderr=True)
    failure_count = 0

    def tell_failure(path: Path, reason: object) -> None:
        nonlocal failure_count
        failure_count += 1
        console.print(f"{path}: {reason}", style="red", markup=False, highlight=False)

    for path, reason in order.refused:
        tell_failure(path, reason)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=len(order.wanted) < 2 or not sys.stderr.isatty(),
    )
    with progress, ThreadPoolExecutor(max_workers=jobs) as pool:
        task = progress.add_task("removing backgrounds", total=len(order.wanted))
        pending = {pool.submit(cut, photo): photo for photo in order.wanted}
        for future in as_completed(pending):
            photo = pending[future]
            try:
                console.print(f"{photo.path} -> {os.fspath(future.result())}", markup=False, highlight=False)
            except Refused as refused:
                tell_failure(photo.path, refused)
            progress.advance(task)
    if order.done:
        console.print(f"{len(order.done)} done before, left as they are; --overwrite does them again.")
    if not (order.wanted or order.done or order.refused):
        console.print("No picture found; --recursive also looks below the folder.")
    return failure_count


def _tell_prices(order: Order, preview: Callable[[Photo], dict[str, Any]]) -> int:
    """Print what each photo would cost, and all of them; how many would fail."""
    console = Console(stderr=True)
    total, balance, refused = Decimal(0), "", list(order.refused)
    for photo in order.wanted:
        try:
            seen = preview(photo)
        except Refused as error:
            refused.append((photo.path, str(error)))
            continue
        cost = Decimal(str(seen["credits"]))
        total += cost
        size = f"{seen['width']} × {seen['height']}" if seen["width"] else "size by the subject"
        how = "a free call" if seen["free_call"] else f"{cost} credits"
        console.print(f"{photo.path}: {how}, {size}", markup=False, highlight=False)
        balance = f"; the account has {seen['balance']['credits']}"
    for path, reason in refused:
        console.print(f"{path}: {reason}", style="red", markup=False, highlight=False)
    typer.echo(f"{total} credits for {len(order.wanted) + len(order.refused) - len(refused)} photos{balance}")
    return len(refused)


def outputs_field(also: list[str]) -> str:
    """The API's `outputs`: the result itself, then what each text adds. Raises CommandFailed."""
    outputs: list[dict[str, str]] = [{"name": MAIN_OUTPUT}]
    for text in also:
        name, _, fields = text.partition(":")
        parts = [part.partition("=") for part in fields.split(",") if part]
        if not name or not all(field and separator for field, separator, _ in parts):
            raise CommandFailed(f"--also {text!r} is not NAME:FIELD=VALUE,FIELD=VALUE.", EXIT_USAGE)
        outputs.append({**{field: value for field, _, value in parts}, "name": name})
    return json.dumps(outputs)


def _write_members(archive: bytes, target: Path, is_overwriting: bool) -> Path:
    """Write every result of the archive: `target`.SUFFIX, and `target`.NAME.SUFFIX; the first one's path.

    Raises Refused, also for what is no such archive.
    """
    paths = []
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as members:
            for member in members.namelist():
                name, _, suffix = member.rpartition(".")
                middle = "" if name == MAIN_OUTPUT else f".{name}"
                # Raises ValueError for a name that would lead elsewhere.
                paths.append(target.with_name(f"{target.name}{middle}.{suffix}"))
                write_result(paths[-1], members.read(member), is_overwriting)
        return paths[0]
    except (zipfile.BadZipFile, ValueError, IndexError) as error:
        raise Refused("the server sent no archive of results", is_about_photo=False) from error


def named_fields(fields: list[str]) -> dict[str, str]:
    """NAME=VALUE texts by name. Raises CommandFailed for any other text."""
    named = {}
    for field in fields:
        name, separator, value = field.partition("=")
        if not separator or not name:
            raise CommandFailed(f"--field {field!r} is not NAME=VALUE.", EXIT_USAGE)
        named[name] = value
    return named
