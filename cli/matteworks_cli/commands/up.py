"""`matteworks up`: the whole suite on this machine, in one terminal."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from matteworks_cli.log_stream import LogStream
from matteworks_deploy.failures import EXIT_USAGE, CommandFailed
from matteworks_deploy.local.options import (
    DEFAULT_MODELS_DIRECTORY,
    DEFAULT_PORT,
    DEFAULT_STATE_DIRECTORY,
    StackOptions,
)
from matteworks_deploy.local.stack import running_stack
from matteworks_deploy.topology import SERVICES

_MOST_WORKERS = 64


class Quality(StrEnum):
    """How much time a matte may cost."""

    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


class LogLevel(StrEnum):
    """Lowest level that the services log."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="Public port; 0 takes a free one.")]
StateDirectoryOption = Annotated[
    Path, typer.Option("--state-dir", help="Where accounts, credits and keys are kept.")
]
ModelsDirectoryOption = Annotated[
    Path,
    typer.Option(
        "--models-dir", envvar="MATTEWORKS_INFERENCE_MODEL_DIRECTORY", help="Where the weights lie."
    ),
]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="Model to load, see `models list`; repeat it for more, the first is the default. "
        "Without it: all whose weights are there.",
    ),
]
InferenceWorkersOption = Annotated[
    int, typer.Option("--inference-workers", min=1, max=64, help="Processes that run the networks.")
]
CompositorWorkersOption = Annotated[
    int, typer.Option("--compositor-workers", min=1, max=64, help="Processes that decode and encode.")
]


def up(
    port: PortOption = DEFAULT_PORT,
    internal_port: Annotated[
        int,
        typer.Option("--internal-port", min=0, max=65535, help="Port for gRPC, on loopback; 0: a free one."),
    ] = 0,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for the whole network.")
    ] = "127.0.0.1",
    state_directory: StateDirectoryOption = DEFAULT_STATE_DIRECTORY,
    models_directory: ModelsDirectoryOption = DEFAULT_MODELS_DIRECTORY,
    models: ModelOption = None,
    quality: Annotated[
        Quality | None, typer.Option("--quality", help="How much time a matte may cost.")
    ] = None,
    inference_workers: InferenceWorkersOption = 1,
    compositor_workers: CompositorWorkersOption = 1,
    workers: Annotated[
        list[str] | None,
        typer.Option("--workers", help="SERVICE=N: processes of any other service; repeat it for more."),
    ] = None,
    public_tls: Annotated[
        Path | None,
        typer.Option("--public-tls", help="Directory with tls.crt and tls.key: the API by https."),
    ] = None,
    internal_tls: Annotated[
        Path | None,
        typer.Option(
            "--internal-tls",
            help="Directory with tls.crt, tls.key and ca.crt: mutual TLS between the processes and for gRPC.",
        ),
    ] = None,
    log_level: Annotated[LogLevel, typer.Option("--log-level", help="Lowest level logged.")] = LogLevel.INFO,
    otlp_endpoint: Annotated[
        str, typer.Option("--otlp-endpoint", help="Collector of traces (OTLP over gRPC) as host:port.")
    ] = "",
) -> None:
    """Start everything, print READY with URL and key, run until Ctrl-C.

    A service that dies is started again. Exit code 2: a port is taken or a part is missing.
    """
    options = StackOptions(
        port=port,
        internal_port=internal_port,
        host=host,
        state_directory=state_directory,
        models_directory=models_directory,
        models=tuple(models or ()),
        quality=quality.value if quality else "",
        workers={
            **_counts(workers or []),
            "inference": inference_workers,
            "compositor": compositor_workers,
        },
        log_level=log_level.value,
        public_tls=public_tls,
        internal_tls=internal_tls,
        otlp_endpoint=otlp_endpoint,
    )
    asyncio.run(_run(options, LogStream(sys.stdout)))


def _counts(texts: list[str]) -> dict[str, int]:
    known = {row.name for row in SERVICES}
    counts = {}
    for text in texts:
        name, _, count = text.partition("=")
        if name not in known or not count.isdecimal() or not 1 <= int(count) <= _MOST_WORKERS:
            raise CommandFailed(
                f"--workers {text!r}: write SERVICE=N with N from 1 to {_MOST_WORKERS} and one of "
                f"{', '.join(sorted(known))}.",
                EXIT_USAGE,
            )
        counts[name] = int(count)
    return counts


async def _run(options: StackOptions, log: LogStream) -> None:
    stop = asyncio.Event()
    task = asyncio.current_task()
    is_ready = False

    def on_signal() -> None:
        # While starting, and on the second signal, stop without waiting.
        if is_ready and not stop.is_set():
            log.write("launcher", "stopping")
            stop.set()
        elif task is not None:
            stop.set()
            task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    try:
        async with running_stack(options, os.environ, log.write) as stack:
            is_ready = True
            names = ", ".join(stack.models)
            log.write("launcher", f"ready after {stack.start_s:.1f} s with {names}")
            log.write("launcher", f"Prometheus finds its targets in {stack.metrics_targets}")
            log.write("launcher", f"gRPC at {stack.internal_target}; Ctrl-C stops everything")
            log.say(f"READY {stack.base_url} key={stack.key}")
            await stop.wait()
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    log.write("launcher", "stopped")
