"""The order of the steps, and the runner.

The list below is the documentation of the order; `docs/pipeline.md` says the same for people and a
test keeps them equal. The runner owns time: it measures every step as a span, and after every step it
looks at the deadline and at whether the caller is still there. Steps own none of that.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

from matteworks_common.context import current_call
from matteworks_common.errors import DeadlineExceeded
from matteworks_common.stages import Stages
from matteworks_compositor.inference_client import MatteSource
from matteworks_compositor.pipeline.job import Job, State
from matteworks_compositor.pipeline.steps import (
    background,
    brought_matte,
    canvas,
    colours,
    decode,
    encode,
    holes,
    matte,
    model_input,
    old_shadow,
    place,
    plan,
    segment,
    semitransparency,
    shadow,
    subject_box,
    working_copy,
    working_copy_of_crop,
)
from matteworks_imaging.decoding import Decoder

__all__ = ["ComputingStep", "Pipeline", "Step", "WaitingStep", "build_steps"]


@dataclass(frozen=True, slots=True)
class ComputingStep:
    """Runs on a worker thread."""

    name: str
    apply: Callable[[Job, State], None]


@dataclass(frozen=True, slots=True)
class WaitingStep:
    """Runs on the event loop and waits for another service."""

    name: str
    apply: Callable[[Job, State], Awaitable[None]]


Step = ComputingStep | WaitingStep


def build_steps(decoder: Decoder, segmenter: MatteSource, threads: int = 1) -> tuple[Step, ...]:
    """Every step, in order. Each looks at the job first and does nothing when nothing was asked of it.

    `threads` is how many one picture may use where a step cuts its work itself.
    """
    return (
        ComputingStep("decode", partial(decode.apply, decoder)),
        ComputingStep("model_input", model_input.apply),
        ComputingStep("working_copy", working_copy.apply),
        WaitingStep("segment", partial(segment.apply, segmenter)),
        ComputingStep("brought_matte", partial(brought_matte.apply, decoder)),
        ComputingStep("working_copy_of_crop", working_copy_of_crop.apply),
        ComputingStep("matte", matte.apply),
        ComputingStep("holes", holes.apply),
        ComputingStep("old_shadow", old_shadow.apply),
        ComputingStep("subject_box", subject_box.apply),
        ComputingStep("semitransparency", semitransparency.apply),
        ComputingStep("colours", colours.apply),
        ComputingStep("shadow", shadow.apply),
        ComputingStep("plan", plan.apply),
        ComputingStep("place", place.apply),
        ComputingStep("canvas", canvas.apply),
        ComputingStep("background", partial(background.apply, decoder)),
        ComputingStep("encode", partial(encode.apply, threads)),
    )


class Pipeline:
    """Runs the steps of a job. Computing steps that follow each other share one trip to a worker."""

    def __init__(self, steps: Sequence[Step], executor: Executor) -> None:
        self.steps = tuple(steps)
        self._executor = executor

    async def run(self, job: Job, stages: Stages) -> State:
        """The state after the last step. `stages` gets one entry a step.

        Raises what the steps raise; DeadlineExceeded after the step during which the time ran out.
        When cancelled it stops after the running step and returns only then, so that whoever counts
        the memory in flight counts right.
        """
        state = State(subject_type=job.declared_type)
        for group in _grouped(self.steps):
            if isinstance(group, WaitingStep):
                with stages.measure(group.name):
                    await group.apply(job, state)
                _check_deadline(group.name)
            else:
                await self._compute(group, job, state, stages)
        for name, duration_s in state.upstream_stages:
            stages.add(f"inference.{name}", duration_s)
        return state

    async def _compute(self, steps: Sequence[ComputingStep], job: Job, state: State, stages: Stages) -> None:
        is_abandoned = threading.Event()

        def work() -> None:
            for step in steps:
                if is_abandoned.is_set():
                    return
                with stages.measure(step.name):
                    step.apply(job, state)
                _check_deadline(step.name)

        context = contextvars.copy_context()
        done = asyncio.get_running_loop().run_in_executor(self._executor, context.run, work)
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            is_abandoned.set()
            await asyncio.wait([done])
            raise


def _grouped(steps: Sequence[Step]) -> list[WaitingStep | list[ComputingStep]]:
    groups: list[WaitingStep | list[ComputingStep]] = []
    for step in steps:
        if isinstance(step, WaitingStep):
            groups.append(step)
        elif groups and isinstance(groups[-1], list):
            groups[-1].append(step)
        else:
            groups.append([step])
    return groups


def _check_deadline(step: str) -> None:
    call = current_call.get()
    remaining_s = call.remaining_s() if call else None
    if remaining_s is not None and remaining_s <= 0:
        raise DeadlineExceeded(f"The deadline passed during the step {step}.")
