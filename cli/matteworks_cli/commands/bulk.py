"""`matteworks bulk`: folders and buckets with any number of pictures, by any number of machines."""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from obstore.exceptions import BaseError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from matteworks_cli.bulk.report import write_report
from matteworks_cli.bulk.shards import ShardBooks
from matteworks_cli.bulk.stores import BOOKS, check_apart, open_store, pictures_after
from matteworks_cli.bulk.worker import BulkWorker, Tally
from matteworks_cli.commands.remove import SUFFIXES, named_fields, reach
from matteworks_cli.rest_client import RestClient
from matteworks_deploy.failures import EXIT_FAILED, EXIT_USAGE, CommandFailed
from matteworks_deploy.local.options import DEFAULT_STATE_DIRECTORY

_MEBIBYTE = 1024 * 1024
_FORMATS = [name for name in SUFFIXES if name != "auto"]


def bulk(
    source: Annotated[str, typer.Argument(help="A folder, or s3://BUCKET/PREFIX, gs://…, az://….")],
    target: Annotated[str, typer.Argument(help="Where results go: the same kinds of places.")],
    base_url: Annotated[
        str,
        typer.Option(
            "--base-url", envvar="MATTEWORKS_BASE_URL", help="The server; without it: the local stack."
        ),
    ] = "",
    key: Annotated[
        str,
        typer.Option("--key", envvar="MATTEWORKS_API_KEY", help="API key; without it: the local stack's."),
    ] = "",
    size: Annotated[str, typer.Option(help="preview, full, auto …")] = "auto",
    output_format: Annotated[str, typer.Option("--format", help=f"{', '.join(_FORMATS)}.")] = "png",
    fields: Annotated[
        list[str] | None, typer.Option("--field", help="Any other API parameter, as NAME=VALUE.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=256, help="Pictures in flight.")] = 8,
    shard_size: Annotated[
        int, typer.Option(min=1, max=10_000, help="Pictures a machine takes at a time.")
    ] = 500,
    lease_s: Annotated[
        float, typer.Option(min=1, help="After this silence a machine's pictures go to another.")
    ] = 120.0,
    patience_s: Annotated[
        float, typer.Option(min=0, help="How long to wait for a server that does not answer.")
    ] = 600.0,
    max_picture_mib: Annotated[int, typer.Option(min=1, help="Larger files are not even fetched.")] = 50,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try pictures again that failed in an earlier run.")
    ] = False,
    state: Annotated[
        Path, typer.Option("--state-dir", help="State directory of a local stack.")
    ] = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Remove the backgrounds of millions of pictures.

    Start the same command on as many machines as you like, and again after any interruption: they agree
    through the target, and no picture is done twice. Each result is TARGET/KEY.FORMAT. What failed stands
    in TARGET/_matteworks/failures.jsonl at the end; exit code 1 then.
    """
    if output_format not in _FORMATS:
        raise CommandFailed(f"--format is one of {', '.join(_FORMATS)}.", EXIT_USAGE)
    parameters = {"size": size, "format": output_format, **named_fields(fields or [])}
    base_url, key = reach(base_url, key, state)
    console = Console(stderr=True)
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    check_apart(source, target)
    pictures, results = open_store(source, is_made=False), open_store(target, is_made=True)
    books = ShardBooks(pictures, results, owner, shard_size=shard_size, lease_s=lease_s)

    def tell(line: str) -> None:
        console.print(line, markup=False, highlight=False)

    try:
        books.agree({"source": source, "parameters": parameters, "shard_size": shard_size})
        with RestClient(base_url, key) as client:
            worker = BulkWorker(
                source=pictures,
                target=results,
                books=books,
                cutter=client,
                parameters=parameters,
                suffix=SUFFIXES[output_format][0],
                jobs=jobs,
                lease_s=lease_s,
                patience_s=patience_s,
                poll_s=min(2.0, lease_s / 3),
                max_picture_bytes=max_picture_mib * _MEBIBYTE,
                tell=tell,
            )
            with _Shown(worker.tally, console, source):
                worker.run(is_retrying_failures=retry_failed)
        report = write_report(books, results)
    except (BaseError, OSError) as error:
        raise CommandFailed(f"The store failed: {error}. Run the same command again.", EXIT_FAILED) from error
    tally = worker.tally
    tell(f"This machine: {tally.made} made, {tally.found} found done, {tally.failed} failed.")
    tell(f"The whole run: {report.done} of {report.pictures} done, {report.failed} failed.")
    if report.failed:
        raise CommandFailed(
            f"{report.failed} pictures failed; {target}/{BOOKS}/failures.jsonl says why.", EXIT_FAILED
        )


class _Shown:
    """A bar on a terminal while this machine works: its share of all pictures, as far as they are counted."""

    def __init__(self, tally: Tally, console: Console, source: str) -> None:
        self._tally = tally
        self._source = source
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> None:
        if self._progress.disable:
            return
        self._progress.start()
        task = self._progress.add_task("removing backgrounds", total=None, rate="")

        def count() -> None:
            # A second listing, of names alone; what other machines do of them lowers the time left.
            total = 0
            keys = pictures_after(open_store(self._source, is_made=False), "")
            while page := list(itertools.islice(keys, 1000)):
                total += len(page)
                if self._ended.is_set():
                    return
            self._progress.update(task, total=total)

        def show() -> None:
            while not self._ended.wait(0.5):
                rate = self._progress.tasks[0].speed
                text = f"{rate:.1f}/s" if rate else ""
                self._progress.update(task, completed=self._tally.seen, rate=text)

        self._threads = [threading.Thread(target=run, daemon=True) for run in (count, show)]
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._progress.stop()
