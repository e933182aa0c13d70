"""One picture to its matte: classify, choose networks, run them, make one matte of theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias, TypeVar

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks_common.errors import FailedPrecondition, NotFound
from matteworks_common.stages import Stages
from matteworks_inference.batching import BatchQueue, Outcome
from matteworks_inference.engine import MatteArray, NetworkKey, PixelArray
from matteworks_inference.models.registry import ModelEntry, Registry
from matteworks_inference.picture import Picture

Quality: TypeAlias = Literal["fast", "balanced", "best"]
Queue: TypeAlias = BatchQueue[NetworkKey, PixelArray, MatteArray]
T = TypeVar("T")


@dataclass(frozen=True)
class Subject:
    """What a picture shows: a name of `SUBJECT_TYPES`, or empty when it was not determined."""

    type: str
    confidence: float


UNDETERMINED: Final = Subject("", 0.0)


class SubjectDetector(Protocol):
    """Tells what a picture shows."""

    def detect(self, picture: Picture) -> Subject:
        """The subject. Blocks for some ms."""


class Blender(Protocol):
    """Chooses networks and makes one matte of what they say."""

    def networks_needed(self, quality: Quality, subject: Subject, loaded: Sequence[ModelEntry]) -> list[str]:
        """Names of the loaded models to run, the one that the matte is named after first; never empty."""

    def blend(
        self, picture: Picture, subject: Subject, quality: Quality, mattes: Mapping[str, MatteArray]
    ) -> MatteArray:
        """One matte of the pixels' size or smaller. Blocks for some ms."""


@dataclass(frozen=True)
class Segmented:
    """A matte over the whole picture, and how it was made."""

    matte: MatteArray
    subject: Subject
    model: str
    batch_item_count: int


class LoadedModels:
    """The registry, and which of its entries this process can run. The first loaded is the default."""

    def __init__(self, registry: Registry, loaded: Sequence[ModelEntry]) -> None:
        self.registry = registry
        self.loaded = tuple(loaded)
        self._by_name = {entry.name: entry for entry in loaded}

    @property
    def default(self) -> ModelEntry:
        """The model of requests that name none and need only one."""
        return self.loaded[0]

    def find(self, name: str) -> ModelEntry:
        """The loaded model of that name.

        Raises NotFound (MODEL_NOT_FOUND), FailedPrecondition (MODEL_NOT_LOADED).
        """
        if name in self._by_name:
            return self._by_name[name]
        if any(entry.name == name for entry in self.registry.entries):
            raise FailedPrecondition(
                reasons.ERROR_REASON_MODEL_NOT_LOADED,
                f"This server has not loaded {name}. Pull its weights and name it in the settings.",
                field="model",
                metadata={"model": name, "loaded": ",".join(self._by_name)},
            )
        raise NotFound(
            reasons.ERROR_REASON_MODEL_NOT_FOUND,
            "No model has this name; ListModels tells the names.",
            field="model",
            metadata={"model": name[:128]},
        )


class Segmenter:
    """Runs pictures through the networks. One per process; use from one event loop.

    `workers` run what blocks and is not the device's: classifying, resizing, blending.
    """

    def __init__(
        self,
        models: LoadedModels,
        queue: Queue,
        blender: Blender,
        detector: SubjectDetector | None,
        workers: Executor,
    ) -> None:
        self.models = models
        self._queue = queue
        self._blender = blender
        self._detector = detector
        self._workers = workers

    async def segment(
        self,
        picture: Picture,
        *,
        model: str,
        subject_type: str,
        quality: Quality,
        deadline_s: float | None,
        stages: Stages,
    ) -> Segmented:
        """The matte of `picture` by `model`, or, when that is empty, by what quality and subject ask for.

        Raises what LoadedModels.find and BatchQueue.submit raise.
        """
        chosen = self.models.find(model) if model else None
        if subject_type:
            subject = Subject(subject_type, 1.0)
        else:
            with stages.measure("classify"):
                subject = await self._detect(picture)
        if chosen is not None:
            names = [chosen.name]
        else:
            names = self._blender.networks_needed(quality, subject, self.models.loaded)
        entries = [self.models.find(name) for name in names]
        with stages.measure("resize"):
            inputs = await self._run(lambda: [_network_input(picture, entry) for entry in entries])
        outcomes = await self._run_networks(inputs, deadline_s)
        stages.add("queue", max(outcome.queue_s for outcome in outcomes))
        stages.add("infer", sum(outcome.run_s for outcome in outcomes))
        matte = outcomes[0].result
        if chosen is None:
            mattes = {name: outcome.result for name, outcome in zip(names, outcomes, strict=True)}
            with stages.measure("refine"):
                matte = await self._run(lambda: self._blender.blend(picture, subject, quality, mattes))
        return Segmented(
            matte, subject, "+".join(names), max(outcome.batch_item_count for outcome in outcomes)
        )

    async def _detect(self, picture: Picture) -> Subject:
        detector = self._detector
        if detector is None:
            return UNDETERMINED
        return await self._run(lambda: detector.detect(picture))

    async def _run_networks(
        self, inputs: list[tuple[NetworkKey, PixelArray]], deadline_s: float | None
    ) -> list[Outcome[MatteArray]]:
        """All or none: when one network fails, the others' places in the queue are given up."""
        tasks: list[asyncio.Task[Outcome[MatteArray]]] = []
        try:
            async with asyncio.TaskGroup() as group:
                for key, pixels in inputs:
                    tasks.append(group.create_task(self._queue.submit(key, pixels, deadline_s=deadline_s)))
        except ExceptionGroup as failures:
            first = failures.exceptions[0]
            raise first from first.__cause__
        return [task.result() for task in tasks]

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)


def _network_input(picture: Picture, entry: ModelEntry) -> tuple[NetworkKey, PixelArray]:
    width_px, height_px = entry.nearest_size_px(picture.source_width_px, picture.source_height_px)
    return NetworkKey(entry.name, width_px, height_px), picture.resized(width_px, height_px)


class SingleNetwork:
    """A Blender without a choice: the first loaded network's matte as it is."""

    def networks_needed(self, quality: Quality, subject: Subject, loaded: Sequence[ModelEntry]) -> list[str]:
        return [loaded[0].name]

    def blend(
        self, picture: Picture, subject: Subject, quality: Quality, mattes: Mapping[str, MatteArray]
    ) -> MatteArray:
        return next(iter(mattes.values()))
