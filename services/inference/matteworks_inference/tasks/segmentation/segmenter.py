"""One picture to its matte: look at it, choose networks, run them, make one matte of theirs.

A request that names a model gets that network's answer as it is. Any other gets a blend: the networks that
serve every subject run first, then their matte tells what the subject is, which may call for one more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias, TypeVar

from matteworks_common.context import is_deferred
from matteworks_common.stages import Stages
from matteworks_common.tracing import record_span
from matteworks_inference.engines.contract import NetworkKey, Tensors
from matteworks_inference.networks.graph import MATTE, PIXELS
from matteworks_inference.networks.registry import ModelEntry, nearest_size_px
from matteworks_inference.picture import MatteArray, Picture, PixelArray
from matteworks_inference.queueing.contract import Outcome
from matteworks_inference.queueing.queue import BatchQueue
from matteworks_inference.subject.evidence import (
    Detection,
    SubjectGuess,
    classify,
    decode_boxes,
    subject_for_routing,
)
from matteworks_inference.subject.networks import FloatArray, SubjectNetworks
from matteworks_inference.tasks.segmentation import ensemble
from matteworks_inference.tasks.segmentation.confidence import evidence_of, probability
from matteworks_inference.tasks.segmentation.loaded_models import LoadedModels, Quality
from matteworks_inference.tasks.segmentation.matting import matted

Queue: TypeAlias = BatchQueue[NetworkKey, Tensors, Tensors]
T = TypeVar("T")

# The networks that every subject needs are those that nothing in particular needs.
_NOTHING_IN_PARTICULAR: Final = "other"


@dataclass(frozen=True)
class Subject:
    """What a picture shows: a name of `SUBJECT_TYPES`, or empty when it was not determined."""

    type: str
    confidence: float


UNDETERMINED: Final = Subject("", 0.0)


@dataclass(frozen=True)
class Segmented:
    """A matte over the whole picture, and how it was made. `model` joins several names with +; `confidence`
    is how likely the matte is right, 0 to 1; `detections` are all things that were seen, in it or not.
    """

    matte: MatteArray
    subject: Subject
    model: str
    batch_item_count: int
    confidence: float
    detections: Sequence[Detection] = ()


@dataclass
class _Runs:
    """What the device did for one picture: mattes by role, and time."""

    mattes: dict[str, MatteArray] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    queue_s: float = 0.0
    infer_s: float = 0.0
    batch_item_count: int = 1

    def add(self, outcomes: Sequence[Outcome[Tensors]]) -> None:
        """Count runs that were submitted side by side.

        Only the first one's wait was for others; the second waited for the picture's own first run.
        """
        self.queue_s += min(outcome.queue_s for outcome in outcomes)
        self.infer_s += sum(outcome.run_s for outcome in outcomes)
        self.batch_item_count = max(
            self.batch_item_count, *(outcome.batch_item_count for outcome in outcomes)
        )


@dataclass(frozen=True)
class _Evidence:
    """What the subject networks said, and the type to expect by it before any matte; None: unsure."""

    logits: FloatArray
    detections: Sequence[Detection]
    expected: str | None


class Segmenter:
    """Runs pictures through the networks. One per process; use from one event loop.

    `subject_networks` None leaves the subject's type undetermined. `workers` run what blocks and is not
    the device's: looking, resizing, blending.
    """

    def __init__(
        self,
        models: LoadedModels,
        queue: Queue,
        subject_networks: SubjectNetworks | None,
        workers: Executor,
    ) -> None:
        self.models = models
        self._queue = queue
        self._subject_networks = subject_networks
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

        A `subject_type` that the caller knows is believed. Raises what LoadedModels.find and
        BatchQueue.submit raise.
        """
        named = self.models.find(model) if model else None
        picture = await self._run(picture.squeezed)
        evidence: _Evidence | None = None
        if not subject_type and self._subject_networks is not None:
            with stages.measure("classify"):
                evidence = await self._run(_look, self._subject_networks, picture)
        known = Subject(subject_type, 1.0) if subject_type else UNDETERMINED
        if named is not None:
            return await self._segment_by_one(picture, named, known, evidence, deadline_s, stages)
        return await self._segment_by_blend(picture, quality, known, evidence, deadline_s, stages)

    async def _segment_by_one(
        self,
        picture: Picture,
        entry: ModelEntry,
        subject: Subject,
        evidence: _Evidence | None,
        deadline_s: float | None,
        stages: Stages,
    ) -> Segmented:
        runs = _Runs()
        await self._run_networks({entry.role: entry}, picture, "balanced", deadline_s, runs, stages)
        matte = runs.mattes[entry.role]
        if evidence is not None:
            with stages.measure("refine"):
                guess = await self._run(_judge, evidence, matte)
            subject = Subject(guess.type, guess.confidence)
        _report(runs, stages)
        confidence = await self._run(_confidence, matte, runs.mattes)
        return Segmented(matte, subject, entry.name, runs.batch_item_count, confidence, _seen(evidence))

    async def _segment_by_blend(
        self,
        picture: Picture,
        quality: Quality,
        subject: Subject,
        evidence: _Evidence | None,
        deadline_s: float | None,
        stages: Stages,
    ) -> Segmented:
        runs = _Runs()
        route = subject.type or None
        expected = route if evidence is None else evidence.expected or _NOTHING_IN_PARTICULAR
        wanted = self.models.for_blend(expected, quality)
        first = {role: wanted[role] for role in ensemble.still_needed(wanted, {}, quality, expected)}
        await self._run_networks(first, picture, quality, deadline_s, runs, stages)
        if evidence is not None:
            # The matte tells which of the things that were seen is the subject.
            with stages.measure("refine"):
                guess = await self._run(_judge, evidence, next(iter(runs.mattes.values())))
            subject, route = Subject(guess.type, guess.confidence), subject_for_routing(guess)
            wanted = self.models.for_blend(route, quality)
        with stages.measure("refine"):
            next_roles = await self._run(ensemble.still_needed, wanted, runs.mattes, quality, route)
        if next_roles:
            missing = {role: wanted[role] for role in next_roles}
            # Of what is not a person the portrait network loses sight at its finer sizes.
            size_quality: Quality = quality if route in ensemble.PORTRAYED else "balanced"
            await self._run_networks(missing, picture, size_quality, deadline_s, runs, stages)
        with stages.measure("refine"):
            matte = await self._run(ensemble.blend, picture.pixels, runs.mattes, route, quality)
        if quality == "best":
            matte, mattes = await self._look_again(picture, matte, route, deadline_s, runs, stages)
            portrait = wanted.get(ensemble.PORTRAIT)
            is_close = portrait is not None and _looks_closely(picture, portrait, quality)
            with stages.measure("matting"):
                matte = await self._run(
                    partial(matted, is_close=is_close), picture.pixels, matte, mattes, route
                )
        _report(runs, stages)
        with stages.measure("refine"):
            confidence = await self._run(_confidence, matte, runs.mattes)
        seen = _seen(evidence)
        return Segmented(matte, subject, "+".join(runs.names), runs.batch_item_count, confidence, seen)

    async def _look_again(
        self,
        picture: Picture,
        matte: MatteArray,
        route: str | None,
        deadline_s: float | None,
        runs: _Runs,
        stages: Stages,
    ) -> tuple[MatteArray, Mapping[str, MatteArray]]:
        """The matte and the networks' own: a subject that is small in the frame is seen larger once more."""
        look = ensemble.second_look(matte)
        if look is None:
            return matte, runs.mattes
        closer = _Runs()
        general = self.models.for_blend(_NOTHING_IN_PARTICULAR, "best")
        general = {role: entry for role, entry in general.items() if role != ensemble.PORTRAIT} or general
        part = picture.cropped(look.left, look.top, look.right, look.bottom)
        await self._run_networks(general, part, "best", deadline_s, closer, stages)
        runs.queue_s += closer.queue_s
        runs.infer_s += closer.infer_s
        height, width = matte.shape
        with stages.measure("refine"):
            mattes = await self._run(
                ensemble.with_second_look, runs.mattes, look, closer.mattes, (width, height)
            )
            return await self._run(ensemble.blend, picture.pixels, mattes, route, "best"), mattes

    async def _run_networks(
        self,
        entries: Mapping[str, ModelEntry],
        picture: Picture,
        quality: Quality,
        deadline_s: float | None,
        runs: _Runs,
        stages: Stages,
    ) -> None:
        """Run all of `entries` or none: when one fails, the others' places in the queue are given up."""
        with stages.measure("resize"):
            inputs = await self._run(
                lambda: [_network_input(picture, entry, quality) for entry in entries.values()]
            )
        tasks: list[asyncio.Task[Outcome[Tensors]]] = []
        try:
            async with asyncio.TaskGroup() as group:
                for key, pixels in inputs:
                    tasks.append(group.create_task(self._run_network(key, {PIXELS: pixels}, deadline_s)))
        except ExceptionGroup as failures:
            first = failures.exceptions[0]
            raise first from first.__cause__
        outcomes = [task.result() for task in tasks]
        runs.add(outcomes)
        for (role, entry), outcome in zip(entries.items(), outcomes, strict=True):
            runs.mattes[role] = outcome.result[MATTE]
            runs.names.append(entry.name)

    async def _run_network(
        self, key: NetworkKey, tensors: Tensors, deadline_s: float | None
    ) -> Outcome[Tensors]:
        start_ns = time.time_ns()
        outcome = await self._queue.submit(key, tensors, deadline_s=deadline_s, is_deferred=is_deferred())
        taken_ns = start_ns + round(outcome.queue_s * 1e9)
        facts: dict[str, str | int] = {
            "matteworks.model": key.model,
            "matteworks.width_px": key.width_px,
            "matteworks.height_px": key.height_px,
            "matteworks.batch_item_count": outcome.batch_item_count,
        }
        record_span("queue", start_ns, taken_ns, facts)
        record_span("infer", taken_ns, taken_ns + round(outcome.run_s * 1e9), facts)
        return outcome

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work, *arguments)


def _look(networks: SubjectNetworks, picture: Picture) -> _Evidence:
    seen = networks.look(picture)
    detections = decode_boxes(seen.box_encodings, seen.class_logits)
    return _Evidence(seen.logits, detections, subject_for_routing(classify(seen.logits, detections)))


def _seen(evidence: _Evidence | None) -> Sequence[Detection]:
    return () if evidence is None else evidence.detections


def _judge(evidence: _Evidence, matte: MatteArray) -> SubjectGuess:
    return classify(evidence.logits, evidence.detections, matte)


def _confidence(matte: MatteArray, answers: Mapping[str, MatteArray]) -> float:
    return probability(*evidence_of(matte, answers))


def _network_input(picture: Picture, entry: ModelEntry, quality: Quality) -> tuple[NetworkKey, PixelArray]:
    is_close = _looks_closely(picture, entry, quality)
    sizes_px = entry.fine_input_sizes_px if is_close else entry.input_sizes_px
    width_px, height_px = nearest_size_px(sizes_px, picture.source_width_px, picture.source_height_px)
    return NetworkKey(entry.name, width_px, height_px), picture.resized(width_px, height_px)


def _looks_closely(picture: Picture, entry: ModelEntry, quality: Quality) -> bool:
    """Whether the fine inputs are used: a picture that has less to show than they hold is not enlarged."""
    shorter_px = min(picture.source_width_px, picture.source_height_px)
    return quality == "best" and shorter_px >= min(min(size_px) for size_px in entry.fine_input_sizes_px)


def _report(runs: _Runs, stages: Stages) -> None:
    stages.add("queue", runs.queue_s)
    stages.add("infer", runs.infer_s)
