"""`matteworks compose-config`: print compose.yaml, or check that a file is current."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from matteworks_deploy.compose import compose_yaml
from matteworks_deploy.failures import CommandFailed


def compose_config(
    check: Annotated[
        Path | None, typer.Option(help="Print nothing; fail when this file differs.", metavar="FILE")
    ] = None,
) -> None:
    """Print compose.yaml as the topology has it."""
    text = compose_yaml()
    if check is None:
        sys.stdout.write(text)
    elif not check.is_file() or check.read_text() != text:
        raise CommandFailed(f"{check} is not current; run: matteworks compose-config > {check}")
