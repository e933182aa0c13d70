"""What every test may use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support.otlp_collector import Collector, collecting
from tests.support.painting_server import KEY, PaintingServer, painting_server
from tests.support.stack import FAST_MODEL, MODELS_DIRECTORY, UPSCALER, RunningStack, stack

INSTALL_TIMEOUT_S = 90


@pytest.fixture(scope="session")
def fast_weights() -> None:
    """Skips, with the reason, when the small network's weights are not here."""
    _need_weights(FAST_MODEL)


@pytest.fixture(scope="session")
def upscaler_weights() -> None:
    """Skips, with the reason, when the network that makes pictures larger is not here."""
    _need_weights(UPSCALER)


def _need_weights(model: str) -> None:
    from matteworks_inference.networks.registry import load_registry, weights_path

    if weights_path(load_registry().find(model), MODELS_DIRECTORY) is None:
        pytest.skip(f"no weights of {model} in {MODELS_DIRECTORY}; run: matteworks models pull {model}")


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Gets the traces of `running_stack`."""
    with collecting() as running:
        yield running


@pytest.fixture(scope="session")
def running_stack(
    fast_weights: None, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningStack]:
    """One real stack for all tests: Valkey, Envoy, all services, two workers where there may be several.

    A test may kill what it likes, as long as it waits until the stack is ready again.
    """
    workers = ("--inference-workers", "2", "--compositor-workers", "2")
    traces = ("--otlp-endpoint", collector.target)
    # The library's own variable: what was traced is exported at once, not within 5 s.
    soon = {"OTEL_BSP_SCHEDULE_DELAY": "200"}
    # Tests send more at once than a slow machine answers within the usual 30 s.
    patient = {"MATTEWORKS_INFERENCE_MAX_WAIT_S": "110"}
    with stack(
        tmp_path_factory.mktemp("stack"),
        "--model",
        FAST_MODEL,
        *workers,
        *traces,
        settings={**soon, **patient},
    ) as started:
        print(f"\nthe stack was ready after {started.ready_after_s:.1f} s")
        yield started


@pytest.fixture(scope="session")
def painting_stack(
    fast_weights: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningStack, PaintingServer]]:
    """One more stack, which paints prompts by a small server of ours."""
    with painting_server() as server:
        settings = {
            "MATTEWORKS_INFERENCE_PAINTER": "images",
            "MATTEWORKS_INFERENCE_PAINTER_URL": server.url,
            "MATTEWORKS_INFERENCE_PAINTER_KEY": KEY,
            "MATTEWORKS_INFERENCE_PAINTER_MODEL": "painter-1",
            "MATTEWORKS_INFERENCE_PAINTER_SIZES": "512x512",
        }
        directory = tmp_path_factory.mktemp("painting-stack")
        with stack(directory, "--model", FAST_MODEL, settings=settings) as started:
            yield started, server


@pytest.fixture
def demo_photo() -> Path:
    """A real photo of a person, 512 × 512."""
    return Path(__file__).parents[1] / "cli" / "matteworks_cli" / "demo" / "astronaut.jpg"


@pytest.fixture
def small_photo(demo_photo: Path, tmp_path: Path) -> Path:
    """The eyes of that photo, 64 × 40: one tile of the network that makes pictures larger."""
    path = tmp_path / "small.jpg"
    with Image.open(demo_photo) as photo:
        photo.crop((190, 80, 254, 120)).save(path, quality=95)
    return path


@pytest.fixture(scope="session")
def requests_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Installs `requests` beside our own packages when a sample first needs it."""
    directory = tmp_path_factory.mktemp("requests")

    def find() -> Path:
        if not (directory / "requests").exists():
            done = subprocess.run(
                [
                    sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "--target", str(directory), "requests",
                ],
                capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S,
            )  # fmt: skip
            if done.returncode:
                pytest.xfail(f"requests could not be installed: {done.stderr.strip()[-200:]}")
        return directory

    return find
