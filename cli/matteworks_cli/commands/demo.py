"""`matteworks demo`: one photo through everything, to show that it works."""

from __future__ import annotations

import asyncio
import os
import time
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from matteworks_cli.commands.up import (
    InferenceWorkersOption,
    ModelOption,
    ModelsDirectoryOption,
    StateDirectoryOption,
)
from matteworks_cli.log_stream import LogStream
from matteworks_cli.rest_client import Refused, RestClient, RestCutout, write_result
from matteworks_deploy.failures import CommandFailed
from matteworks_deploy.local.options import (
    DEFAULT_MODELS_DIRECTORY,
    DEFAULT_STATE_DIRECTORY,
    StackOptions,
)
from matteworks_deploy.local.stack import running_stack

_STOPS = "REST > Envoy > edge > Envoy > auth + compositor > Envoy > inference"


def demo(
    directory: Annotated[Path, typer.Option("-o", "--output", help="Directory of the pictures.")] = Path(
        "out"
    ),
    state_directory: StateDirectoryOption = DEFAULT_STATE_DIRECTORY,
    models_directory: ModelsDirectoryOption = DEFAULT_MODELS_DIRECTORY,
    models: ModelOption = None,
    inference_workers: InferenceWorkersOption = 1,
) -> None:
    """Start a stack, send it a photo, write OUTPUT/demo.png beside OUTPUT/demo-input.jpg, stop the stack."""
    options = StackOptions(
        port=0,
        state_directory=state_directory / "demo",
        models_directory=models_directory,
        models=tuple(models or ()),
        workers={"inference": inference_workers},
    )
    directory.mkdir(parents=True, exist_ok=True)
    photo = directory / "demo-input.jpg"
    photo.write_bytes(files("matteworks_cli").joinpath("demo/astronaut.jpg").read_bytes())
    log_path = directory / "demo.log"
    with log_path.open("w") as stream:
        asyncio.run(_run(options, photo, directory / "demo.png", LogStream(stream)))


async def _run(options: StackOptions, photo: Path, result: Path, log: LogStream) -> None:
    typer.echo("Starting Valkey, auth, inference, compositor, edge and Envoy ...")
    async with running_stack(options, os.environ, log.write) as stack:
        typer.echo(
            f"Ready after {stack.start_s:.1f} s. Sending {photo} to {stack.base_url}/v1.0/removebg ..."
        )
        start_s = time.perf_counter()
        try:
            cutout = await asyncio.to_thread(_cut, stack.base_url, stack.key, photo)
        except Refused as refused:
            raise CommandFailed(f"The photo was refused: {refused}") from refused
        duration_ms = (time.perf_counter() - start_s) * 1000
        write_result(result, cutout.image, is_overwriting=True)
        size = f"{cutout.headers.get('x-width', '?')} x {cutout.headers.get('x-height', '?')}"
        subject = cutout.headers.get("x-type", "?")
        typer.echo(f"{cutout.status} OK | {size} | {duration_ms:.0f} ms | {subject} | {_STOPS} | {result}")


def _cut(base_url: str, key: str, photo: Path) -> RestCutout:
    with RestClient(base_url, key) as client:
        return client.remove_background(photo, {"size": "full", "format": "png"})
