"""`matteworks models`: which networks there are, and fetching their weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from matteworks_cli.commands.up import ModelsDirectoryOption
from matteworks_deploy.failures import EXIT_FAILED, EXIT_USAGE, CommandFailed
from matteworks_deploy.local.options import DEFAULT_MODELS_DIRECTORY
from matteworks_deploy.local.parts import require_extras

if TYPE_CHECKING:
    from matteworks_inference.networks.registry import ModelEntry

# Fetched with pip alone, for when npm is not installed.
FALLBACK = "u2netp"


def list_models(directory: ModelsDirectoryOption = DEFAULT_MODELS_DIRECTORY) -> None:
    """Every model: its licence, its size, whether its weights are here."""
    require_extras("inference")
    from matteworks_inference.networks.registry import WrongWeights, load_registry, weights_path

    table = Table("model", "weights", "size", "licence", "what for", box=None)
    for entry in load_registry().entries:
        try:
            presence = "here" if weights_path(entry, directory) else "not here"
        except WrongWeights:
            presence = "[red]wrong file[/red]"
        size = f"{entry.size_bytes / 1e6:.0f} MB" if entry.size_bytes else "?"
        table.add_row(entry.name, presence, size, entry.license, entry.summary)
    Console().print(table)


def pull_models(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Models to fetch; none: those that a stack uses by default.", metavar="NAME..."),
    ] = None,
    directory: ModelsDirectoryOption = DEFAULT_MODELS_DIRECTORY,
) -> None:
    """Fetch weights that are not here yet, and check them.

    Without names: if the default model cannot be had, the small one that needs only pip is fetched instead.
    """
    require_extras("inference")
    from matteworks_inference.networks.registry import UnknownModel, load_registry

    # A source that failed matters only when all did, and then the error names each of them.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    registry = load_registry()
    try:
        entries = [registry.find(name) for name in names or ()]
    except UnknownModel as error:
        raise CommandFailed(str(error), EXIT_USAGE) from error
    if entries:
        failed = [entry.name for entry in entries if not _pull(entry, directory)]
        if failed:
            raise CommandFailed(f"Not fetched: {', '.join(failed)}.", EXIT_FAILED)
        _prepare(directory)
        return

    def pulled(entry: ModelEntry) -> bool:
        return entry.is_pulled_by_default and _pull(entry, directory)

    default, *others = registry.entries
    if not pulled(default):
        typer.echo(
            f"{default.name} could not be had; fetching {FALLBACK} instead, which is smaller and coarser."
        )
        if not _pull(registry.find(FALLBACK), directory):
            raise CommandFailed("No model could be fetched.", EXIT_FAILED)
    for entry in others:
        if entry.is_pulled_by_default:
            _pull(entry, directory)
    _prepare(directory)


def _prepare(directory: Path) -> None:
    """Prepare networks now instead of at the first start, and say which engine runs which."""
    from matteworks_common.settings import SettingsError
    from matteworks_inference.engines.contract import EngineUnavailable
    from matteworks_inference.networks.graph import GraphError
    from matteworks_inference.networks.warmup import prepare_for_machine

    typer.echo("Preparing the networks for this machine, once ...")
    try:
        prepared = prepare_for_machine(directory)
    except (SettingsError, EngineUnavailable, GraphError) as error:
        raise CommandFailed(str(error), EXIT_FAILED) from error
    for name, facts in prepared.items():
        typer.echo(f"{name}: {facts.label} ({facts.reason})")


def _pull(entry: ModelEntry, directory: Path) -> bool:
    """Fetch one model and say how it went."""
    from matteworks_inference.networks.pull import PullFailed, pull_weights
    from matteworks_inference.networks.registry import WrongWeights

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"pulling {entry.name}", total=entry.size_bytes or None)

        def on_progress(done_bytes: int, expected_bytes: int) -> None:
            progress.update(task, completed=done_bytes, total=expected_bytes or None)

        try:
            path = pull_weights(entry, directory, on_progress)
        except (PullFailed, WrongWeights) as error:
            console.print(str(error), style="yellow", markup=False, highlight=False)
            return False
    typer.echo(
        f"{entry.name}: {path} (licence of the weights: {entry.license}). {entry.license_note}".rstrip()
    )
    return True
