"""`matteworks doctor`: what is wrong with a deployment, and what to do."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from matteworks_cli.administration import TargetOption
from matteworks_cli.certificates import certificates
from matteworks_cli.commands.remove import reach
from matteworks_cli.doctor.checks import examine, photo_of
from matteworks_cli.doctor.findings import Deployment
from matteworks_deploy.failures import EXIT_FAILED, EXIT_USAGE, CommandFailed
from matteworks_deploy.local.options import DEFAULT_STATE_DIRECTORY
from matteworks_deploy.local.state import StateDirectory


def doctor(
    base_url: Annotated[
        str,
        typer.Option(
            "--base-url",
            envvar="MATTEWORKS_BASE_URL",
            help="The gateway; without it: the stack that runs in --state-dir.",
        ),
    ] = "",
    target: TargetOption = "",
    key: Annotated[
        str,
        typer.Option(
            "--key", envvar="MATTEWORKS_API_KEY", help="API key; without it: that of the local stack."
        ),
    ] = "",
    state: Annotated[
        Path, typer.Option("--state-dir", help="State directory of a local stack.")
    ] = DEFAULT_STATE_DIRECTORY,
) -> None:
    """Try everything that a deployment must do, and say what to do where it does not.

    One photo is cut out and one goes through a batch: two credits. Exit code 1 when something is wrong.
    """
    base_url, key = reach(base_url, key, state)
    facts = StateDirectory(state).read_facts()
    target = target or (facts.internal_target if facts else "")
    if not target:
        raise CommandFailed(
            "Say where the internal listener is with --target; without it only half could be looked at.",
            EXIT_USAGE,
        )
    with as_file(files("matteworks_cli") / "demo" / "astronaut.jpg") as path:
        photo = photo_of(path)
    console = Console(highlight=False)
    problem_count = 0
    for finding in examine(Deployment(base_url.rstrip("/"), target, key, photo, certificates(state))):
        mark = "[green]ok[/green]     " if finding.is_well else "[red]problem[/red]"
        console.print(f"{mark}  {finding.what}: ", end="")
        console.print(finding.told, markup=False, soft_wrap=True)
        if not finding.is_well:
            problem_count += 1
            console.print(f"         {finding.remedy}", markup=False, soft_wrap=True)
    if problem_count:
        raise CommandFailed(f"{problem_count} problem{'s' if problem_count > 1 else ''} found.", EXIT_FAILED)
    console.print("Everything works.")
