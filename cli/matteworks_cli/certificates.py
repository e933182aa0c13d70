"""Which certificates a command shows to the internal listener."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import click
import typer

from matteworks_common.settings import SettingsError
from matteworks_common.tls import Identity, identity_in
from matteworks_deploy.failures import EXIT_USAGE, CommandFailed
from matteworks_deploy.local.state import StateDirectory

_OPTION = "tls_directory"


def root_options(
    tls_directory: Annotated[
        Path | None,
        typer.Option(
            "--tls-directory",
            envvar="MATTEWORKS_TLS_DIRECTORY",
            help="Directory with tls.crt, tls.key and ca.crt for an internal listener that wants mutual TLS; "
            "not needed for a local stack.",
        ),
    ] = None,
) -> None:
    """Options before the command's name."""


def certificates(state_path: Path) -> Path | None:
    """The directory that was named, else that of the local stack; None for plaintext."""
    context = click.get_current_context(silent=True)
    given: Path | None = context.find_root().params.get(_OPTION) if context else None
    if given is not None:
        return given
    facts = StateDirectory(state_path).read_facts()
    return Path(facts.tls_directory) if facts and facts.tls_directory else None


def identity(state_path: Path) -> Identity | None:
    """The same, read. Raises CommandFailed when the files cannot be used."""
    try:
        return identity_in(certificates(state_path))
    except SettingsError as error:
        raise CommandFailed(str(error), EXIT_USAGE) from error
