"""The `matteworks` command."""

from __future__ import annotations

import sys

from matteworks_deploy.failures import EXIT_USAGE


def run() -> None:
    """Entry point of the console script."""
    try:
        from matteworks_cli.commands.app import app
    except ModuleNotFoundError as error:
        # The services' images carry this package without what the command needs.
        sys.stderr.write(
            f'The command needs {error.name}, which is not installed; run: pip install "matteworks[local]"\n'
        )
        sys.exit(EXIT_USAGE)
    app()
