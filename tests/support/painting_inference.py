"""A real inference service whose painter is a server of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from matteworks_common.lifecycle import running
from matteworks_inference.app import Dependencies, build
from matteworks_inference.settings import InferenceSettings
from tests.support.painting_server import KEY, PaintingServer
from tests.unit.inference.tiny_networks import tiny_registry


@asynccontextmanager
async def inference_with_painter(
    directory: Path, server: PaintingServer, **changes: Any
) -> AsyncIterator[str]:
    """Where it listens, on a free loopback port."""
    registry = tiny_registry(directory, tiny="general")
    painter = {
        "painter": "images", "painter_url": server.url, "painter_key": KEY, "painter_model": "painter-1",
        "painter_sizes": "256x256,384x256", "painter_timeout_s": 5,
    }  # fmt: skip
    settings = InferenceSettings(
        listen_address="127.0.0.1:0", drain_delay_s=0, grace_s=1, model_directory=directory, threads=1,
        models="tiny", engine="onnxruntime", detects_subject=False, **{**painter, **changes},
    )  # fmt: skip
    app = await build(settings, Dependencies(registry=registry))
    async with running(app, settings) as service:
        await service.health.poll()
        yield f"127.0.0.1:{service.port}"
