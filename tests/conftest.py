"""What every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stack import FAST_MODEL, MODELS_DIRECTORY, RunningStack, stack


@pytest.fixture(scope="session")
def fast_weights() -> None:
    """Skips, with the reason, when the small network's weights are not here."""
    from matteworks_inference.networks.registry import load_registry, weights_path

    if weights_path(load_registry().find(FAST_MODEL), MODELS_DIRECTORY) is None:
        pytest.skip(
            f"no weights of {FAST_MODEL} in {MODELS_DIRECTORY}; run: matteworks models pull {FAST_MODEL}"
        )


@pytest.fixture(scope="session")
def running_stack(fast_weights: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One real stack for all tests: Valkey, Envoy, all services, two workers where there may be several.

    A test may kill what it likes, as long as it waits until the stack is ready again.
    """
    workers = ("--inference-workers", "2", "--compositor-workers", "2")
    with stack(tmp_path_factory.mktemp("stack"), "--model", FAST_MODEL, *workers) as started:
        print(f"\nthe stack was ready after {started.ready_after_s:.1f} s")
        yield started


@pytest.fixture
def demo_photo() -> Path:
    """A real photo of a person, 512 × 512."""
    return Path(__file__).parents[1] / "cli" / "matteworks_cli" / "demo" / "astronaut.jpg"
