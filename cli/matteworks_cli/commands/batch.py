"""`matteworks batch`: hand pictures in as a batch, watch it, fetch its results, end it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from matteworks_cli.administration import TargetOption
from matteworks_cli.certificates import certificates
from matteworks_cli.photos import PICTURE_SUFFIXES
from matteworks_client import Batch, Item, MatteworksClient, MatteworksError
from matteworks_client.choices import Format, HolesName, QualityName, RenderChoices, ShadowName
from matteworks_client.jobs import BatchPicture
from matteworks_deploy.failures import EXIT_FAILED, EXIT_USAGE, CommandFailed
from matteworks_deploy.local.options import DEFAULT_STATE_DIRECTORY
from matteworks_deploy.local.state import StateDirectory

_FORMATS = ("auto", "png", "jpeg", "webp", "zip", "avif", "tiff", "bmp", "gif")
_QUALITIES: tuple[QualityName, ...] = get_args(QualityName)
_SHADOWS: tuple[ShadowName, ...] = get_args(ShadowName)
_HOLES: tuple[HolesName, ...] = get_args(HolesName)
_SUFFIXES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "application/zip": "zip",
    "image/avif": "avif",
    "image/tiff": "tiff",
    "image/bmp": "bmp",
    "image/gif": "gif",
}
_COLUMNS = ("made", "pictures", "done", "failed", "cancelled", "ended")
KeyOption = Annotated[
    str,
    typer.Option("--key", envvar="MATTEWORKS_API_KEY", help="API key; without it: that of the local stack."),
]
StateOption = Annotated[Path, typer.Option("--state-dir", help="State directory of a local stack.")]
BatchArgument = Annotated[str, typer.Argument(help="The batch, as submit printed it.", metavar="ID")]
OutputOption = Annotated[
    Path | None, typer.Option("-o", "--output", help="Wait for the end and write the results here.")
]


def submit_batch(
    pictures: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, folders of them, http(s) URLs, or a .txt file of URLs.", metavar="PICTURE"
        ),
    ],
    output: OutputOption = None,
    output_format: Annotated[str, typer.Option("--format", help=f"{', '.join(_FORMATS)}.")] = "png",
    crop: Annotated[bool, typer.Option("--crop", help="Cut off the empty border.")] = False,
    shadow: Annotated[str, typer.Option(help=f"{', '.join(_SHADOWS)}.")] = "",
    holes: Annotated[str, typer.Option(help="What the subject encloses: keep or clear.")] = "",
    despill: Annotated[
        bool, typer.Option("--despill", help="Take light of the old background out of the edges.")
    ] = False,
    keep_metadata: Annotated[
        bool, typer.Option("--keep-metadata", help="EXIF data, resolution and colour profile stay.")
    ] = False,
    quality: Annotated[str, typer.Option(help="Time for the mattes: fast, balanced, best.")] = "",
    model: Annotated[str, typer.Option(help="The network by name, for equal results.")] = "",
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Of folders, also what lies below them.")
    ] = False,
    webhook_url: Annotated[str, typer.Option("--webhook-url", help="Is told when all are done.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Wait for the end and show progress.")] = False,
    key: KeyOption = "",
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Hand pictures in and print the batch's ID.

    All pictures are accepted, or none. With --output the command waits for the end and writes each result
    as NUMBER-NAME; without it, fetch them later with `matteworks batch download ID`.
    """
    if output_format not in _FORMATS:
        raise CommandFailed(f"--format is one of {', '.join(_FORMATS)}.", EXIT_USAGE)
    sources = list(_sources(pictures, recursive))
    if not sources:
        raise CommandFailed("No picture found; --recursive also looks below a folder.", EXIT_USAGE)
    for option, value, known in (
        ("--quality", quality, _QUALITIES),
        ("--shadow", shadow, _SHADOWS),
        ("--holes", holes, _HOLES),
    ):
        if value and value not in known:
            raise CommandFailed(f"{option} is one of {', '.join(known)}.", EXIT_USAGE)
    choices = RenderChoices(
        format=cast(Format, output_format), crop=crop, despill=despill, keep_metadata=keep_metadata
    )
    if shadow:
        choices["shadow"] = cast(ShadowName, shadow)
    if holes:
        choices["holes"] = cast(HolesName, holes)
    with _reached(target, key, state) as stack:
        batch = stack.client.submit_batch(
            sources,
            key=stack.key,
            webhook_url=webhook_url,
            model=model,
            quality=cast(QualityName, quality) if quality else None,
            **choices,
        )
        typer.echo(batch.batch_id)
        if output is not None or watch:
            batch = _follow(stack, batch.batch_id)
            _write_and_tell(stack, batch, output, [_name_of(source) for source in sources])


def watch_batch(
    batch_id: BatchArgument,
    key: KeyOption = "",
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Show how a batch goes on until it has ended. Exit code 1 when a picture failed."""
    with _reached(target, key, state) as stack:
        _write_and_tell(stack, _follow(stack, batch_id), None, [])


def download_batch(
    batch_id: BatchArgument,
    output: Annotated[Path, typer.Argument(help="Directory of the results; made when missing.")],
    key: KeyOption = "",
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Write the results that a batch has so far. Exit code 1 when a picture failed."""
    with _reached(target, key, state) as stack:
        _write_and_tell(stack, stack.client.batch(batch_id, key=stack.key), output, [])


def cancel_batch(
    batch_id: BatchArgument,
    key: KeyOption = "",
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """End a batch: what has not begun never will, and costs nothing."""
    with _reached(target, key, state) as stack:
        batch = stack.client.cancel_batch(batch_id, key=stack.key)
    typer.echo(_summary(batch))


def list_batches(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 20,
    key: KeyOption = "",
    target: TargetOption = "",
    state: StateOption = DEFAULT_STATE_DIRECTORY,
) -> None:
    """List the latest batches of the key's account."""
    with _reached(target, key, state) as stack:
        batches = stack.client.batches(key=stack.key, limit=limit)
    # Never cut: it is what the other commands take.
    table = Table(Column("batch", no_wrap=True, min_width=38), *_COLUMNS, box=None)
    for batch in batches:
        table.add_row(
            batch.batch_id,
            f"{batch.create_time:%Y-%m-%d %H:%M}",
            *map(str, (batch.item_count, batch.succeeded_count, batch.failed_count, batch.cancelled_count)),
            "yes" if batch.is_ended else "no",
        )
    Console().print(table)


@dataclass(frozen=True)
class _Stack:
    client: MatteworksClient
    key: str


@contextmanager
def _reached(target: str, key: str, state_path: Path) -> Iterator[_Stack]:
    """A client of the internal listener. Raises CommandFailed for what the services refuse."""
    state = StateDirectory(state_path)
    facts = state.read_facts()
    target = target or (facts.internal_target if facts else "")
    if not target:
        raise CommandFailed(
            f"No stack runs in {state_path}; start one with `matteworks up`, or give --target.", EXIT_USAGE
        )
    key = key or state.read_dev_key() or ""
    if not key:
        raise CommandFailed("No API key; give --key or set MATTEWORKS_API_KEY.", EXIT_USAGE)
    with MatteworksClient(target, tls_directory=certificates(state_path)) as client:
        try:
            yield _Stack(client, key)
        except MatteworksError as error:
            raise CommandFailed(f"{error.reason_name}: {error.message}") from error
        except (OSError, ValueError) as error:
            raise CommandFailed(str(error)) from error


def _sources(pictures: Iterable[str], is_recursive: bool) -> Iterator[BatchPicture]:
    for text in pictures:
        path = Path(text)
        if text.startswith(("http://", "https://")):
            yield text
        elif path.suffix == ".txt" and path.is_file():
            yield from filter(None, (line.strip() for line in path.read_text().splitlines()))
        elif path.is_dir():
            found = path.rglob("*") if is_recursive else path.glob("*")
            yield from sorted(one for one in found if one.suffix.lower() in PICTURE_SUFFIXES)
        elif path.is_file():
            yield path
        else:
            raise CommandFailed(f"{text}: there is no such file or folder.", EXIT_USAGE)


def _name_of(source: BatchPicture) -> str:
    return source.stem if isinstance(source, Path) else ""


def _follow(stack: _Stack, batch_id: str) -> Batch:
    """Show progress until the end: a bar on a terminal, else a line a change."""
    console = Console(stderr=True)
    is_terminal = sys.stderr.isatty()
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not is_terminal,
    )
    with progress:
        task = progress.add_task("removing backgrounds", total=None)
        for batch in stack.client.watch(batch_id, key=stack.key):
            progress.update(task, total=batch.item_count, completed=batch.ended_count)
            if not is_terminal:
                console.print(_summary(batch), markup=False, highlight=False)
    return batch


def _summary(batch: Batch) -> str:
    parts = [f"{batch.ended_count} of {batch.item_count} ended", f"{batch.succeeded_count} done"]
    if batch.failed_count:
        parts.append(f"{batch.failed_count} failed")
    if batch.cancelled_count:
        parts.append(f"{batch.cancelled_count} cancelled")
    if not batch.is_ended:
        parts.append(f"about {batch.estimated_s:.0f} s left")
    return ", ".join(parts)


def _write_and_tell(stack: _Stack, batch: Batch, output: Path | None, names: list[str]) -> None:
    """Write what there is, name what failed. Raises CommandFailed when a picture failed."""
    console = Console(stderr=True)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    for item in stack.client.items(batch.batch_id, key=stack.key):
        if item.state == "failed":
            reason = f"picture {item.index}: {item.error_reason}: {item.error_message}"
            console.print(reason, style="red", markup=False, highlight=False)
        elif output is not None and item.result is not None:
            name = names[item.index] if item.index < len(names) else ""
            path = stack.client.download(item.item_id, output / _file_name(item, name), key=stack.key)
            console.print(str(path), markup=False, highlight=False)
    if batch.failed_count:
        raise CommandFailed(f"{batch.failed_count} of {batch.item_count} pictures failed.", EXIT_FAILED)


def _file_name(item: Item, name: str) -> str:
    suffix = _SUFFIXES.get(item.result.content_type, "bin") if item.result else "bin"
    stem = f"{item.index:05d}-{name}" if name else f"{item.index:05d}"
    return f"{stem}.{suffix}"
