"""Finished graphs on disk, so that a start neither rewrites nor optimises them again.

A stored graph is only good for the weights, the code and the runtime that made it, and for processors like
the one that it was made on; all of these are in its file name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
import onnxruntime
import structlog

from matteworks_inference.networks.graph import (
    GRAPH_VERSION,
    finish_matte_graph,
    finish_upscaling_graph,
)
from matteworks_inference.networks.registry import ModelEntry, measured_sha256

_FOLDER: Final = ".graphs"
log = structlog.get_logger()


@dataclass(frozen=True)
class StoredGraph:
    """A graph file that the runtime has optimised; `was_stored` says that an earlier start made it."""

    path: Path
    was_stored: bool


class GraphStore:
    """A folder of finished graphs inside `directory`, or inside `fallback` when that cannot be written."""

    def __init__(self, directory: Path, fallback: Path) -> None:
        self._folder = directory / _FOLDER
        self._fallback = fallback

    @classmethod
    def beside_weights(cls, directory: Path) -> GraphStore:
        """The store of a model directory; one that cannot be written is replaced by a temporary folder."""
        return cls(directory, Path(tempfile.gettempdir()) / "matteworks-graphs")

    def cache_beside(self, graph: Path, name: str) -> Path:
        """A folder called `name` for what a runtime keeps of `graph`: beside it, or in the fallback where
        that cannot be written. What was prepared beside it is then copied, because runtimes rewrite their
        caches while they read them, and end the process where they cannot.
        """
        beside = graph.parent / name
        if _is_writable(beside if beside.exists() else graph.parent):
            return beside
        copied = self._fallback / name
        copied.mkdir(parents=True, exist_ok=True)
        for file in beside.glob("*") if beside.is_dir() else ():
            target = copied / file.name
            if not target.exists():
                unfinished = copied / f"{file.name}.{os.getpid()}.part"
                try:
                    shutil.copyfile(file, unfinished)
                except PermissionError:
                    # Prepared by another user for its eyes only: it is made again.
                    log.info("cache_not_readable", file=str(file))
                    continue
                unfinished.replace(target)
        return copied

    def share(self) -> None:
        """Let every user read what is kept beside the weights."""
        for path in self._folder.rglob("*"):
            with contextlib.suppress(OSError):
                path.chmod(path.stat().st_mode | 0o444)

    @property
    def folders(self) -> tuple[Path, Path]:
        """Where something may lie that was kept, the first one first."""
        return self._folder, self._fallback

    @property
    def folder(self) -> Path:
        """A folder that can be written, for what belongs to this machine. Raises OSError."""
        return self._writable_folder()

    def finished(
        self,
        entry: ModelEntry,
        weights: Path,
        *,
        device: str,
        fixed_items: int | None,
        build: Callable[[Path, Path, int | None], None],
    ) -> StoredGraph:
        """The finished graph of `entry` for this machine, made by `build(source, target, items)` if absent.

        Raises GraphError when the weights are not the network that `entry` describes.
        """
        name = self._name(entry, measured_sha256(weights), device, fixed_items)
        stored = self._folder / name
        if stored.is_file():
            return StoredGraph(stored, was_stored=True)
        folder = self._writable_folder()
        stored = folder / name
        if stored.is_file():
            return StoredGraph(stored, was_stored=True)
        network = _finish(entry, weights)
        # Two processes may build the same graph at once: each has its own files until the rename.
        finished = folder / f"{name}.{os.getpid()}.finished"
        unnamed = folder / f"{name}.{os.getpid()}.part"
        try:
            onnx.save(network, finished)
            del network
            build(finished, unnamed, fixed_items)
            unnamed.replace(stored)
        finally:
            finished.unlink(missing_ok=True)
            unnamed.unlink(missing_ok=True)
        self._remove_outdated(stored, entry.name)
        log.info("graph_stored", model=entry.name, file=str(stored), size_bytes=stored.stat().st_size)
        return StoredGraph(stored, was_stored=False)

    def _name(self, entry: ModelEntry, sha256: str, device: str, fixed_items: int | None) -> str:
        facts = (
            GRAPH_VERSION,
            onnxruntime.__version__,
            sha256,
            entry.network,
            _only_size_px(entry),
            device,
            fixed_items,
            platform.machine(),
            processor_features(),
        )
        digest = hashlib.sha256(repr(facts).encode()).hexdigest()[:20]
        return f"{entry.name}-{device}-{fixed_items or 'n'}-{digest}.onnx"

    def _writable_folder(self) -> Path:
        for folder in self.folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError:
                continue
            if _is_writable(folder):
                return folder
        raise OSError(f"Neither {self._folder} nor {self._fallback} can be written.")

    def _remove_outdated(self, stored: Path, model: str) -> None:
        """Keep one graph per model, device and batch size; a process that still reads another keeps its
        open file.
        """
        prefix = stored.name.rpartition("-")[0]
        for other in stored.parent.glob(f"{prefix}-*.onnx"):
            if other != stored:
                other.unlink(missing_ok=True)


def _finish(entry: ModelEntry, weights: Path) -> onnx.ModelProto:
    network = onnx.load(weights)
    if entry.is_upscaler:
        return finish_upscaling_graph(network, entry.network, entry.input_sizes_px[0], entry.factor)
    return finish_matte_graph(network, entry.network, _only_size_px(entry))


def _is_writable(folder: Path) -> bool:
    """Tried, not asked: a read-only mount says yes to whoever asks as root."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _only_size_px(entry: ModelEntry) -> tuple[int, int] | None:
    """The input size that the graph may rely on; None when there are several."""
    sizes = {*entry.input_sizes_px, *entry.fine_input_sizes_px}
    return sizes.pop() if len(sizes) == 1 else None


def processor_features() -> str:
    """What the processor can do, because optimised weights are laid out for it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith(("flags", "Features")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
