"""`python -m matteworks_inference.networks pull|list`: the weights, without the rest of the product."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Never

from tqdm import tqdm

from matteworks_inference.networks.pull import Progress, PullFailed, pull_weights
from matteworks_inference.networks.registry import (
    ModelEntry,
    Registry,
    UnknownModel,
    WrongWeights,
    load_registry,
    weights_path,
)


def main(arguments: list[str]) -> int:
    """Run one command; the exit status: 0, 1 when a model could not be had, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m matteworks_inference.networks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    pull = commands.add_parser("pull", help="fetch weights that are not there yet")
    pull.add_argument("names", nargs="*", metavar="NAME", help="models; none: those pulled by default")
    listing = commands.add_parser("list", help="show every model, its licence, and whether it is there")
    for command in (pull, listing):
        command.add_argument(
            "--directory", "--models-dir", type=Path, default=Path("models"), help="default: ./models"
        )
    chosen = parser.parse_args(arguments)
    registry = load_registry()
    if chosen.command == "list":
        return _list(registry, chosen.directory)
    return _pull(registry, chosen.names, chosen.directory)


def _list(registry: Registry, directory: Path) -> int:
    for entry in registry.entries:
        try:
            state = "here" if weights_path(entry, directory) else "not here"
        except WrongWeights:
            state = "wrong file"
        sys.stdout.write(f"{entry.name:32} {state:10} {entry.license:14} {entry.summary}\n")
    return 0


def _pull(registry: Registry, names: list[str], directory: Path) -> int:
    try:
        entries = [registry.find(name) for name in names] or [
            entry for entry in registry.entries if entry.is_pulled_by_default
        ]
    except UnknownModel as error:
        sys.stderr.write(f"{error}\n")
        return 2
    status = 0
    for entry in entries:
        try:
            bar: tqdm[Never] = tqdm(
                desc=entry.name, unit="B", unit_scale=True, total=entry.size_bytes or None
            )
            with bar:
                path = pull_weights(entry, directory, _draw(bar))
            sys.stdout.write(f"{entry.name}: {path} ({_license(entry)})\n")
        except (PullFailed, WrongWeights) as error:
            sys.stderr.write(f"{error}\n")
            status = 1
    return status


def _draw(bar: tqdm[Never]) -> Progress:
    def draw(done: int, expected: int) -> None:
        if expected:
            bar.total = expected
        bar.update(done - bar.n)

    return draw


def _license(entry: ModelEntry) -> str:
    return f"{entry.license}. {entry.license_note}".rstrip(". ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
