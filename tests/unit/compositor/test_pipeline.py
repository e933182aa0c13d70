"""The runner: order, deadlines, callers that leave."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from matteworks_common.context import CallContext, current_call
from matteworks_common.errors import DeadlineExceeded
from matteworks_common.stages import Stages
from matteworks_compositor.inference_client import MatteSource
from matteworks_compositor.options.model import RenderOptions
from matteworks_compositor.pipeline.job import Job, State
from matteworks_compositor.pipeline.pipeline import ComputingStep, Pipeline, Step, WaitingStep, build_steps
from matteworks_imaging.decoding import Decoder
from matteworks_imaging.limits import admit_file
from tests.component.compositor.pictures import encoded, gradient

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "pipeline.md"
JOB = Job(request_id="r", picture=admit_file(encoded(gradient(8, 8))), options=RenderOptions())


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


class Recorder:
    """Steps that write down their names."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def computing(self, name: str) -> Step:
        return ComputingStep(name, lambda job, state: self.ran.append(name))

    def waiting(self, name: str) -> Step:
        async def apply(job: Job, state: State) -> None:
            self.ran.append(name)

        return WaitingStep(name, apply)


async def test_steps_run_in_their_order_and_are_measured_by_name(executor: ThreadPoolExecutor) -> None:
    recorder, stages = Recorder(), Stages()
    steps = [recorder.computing("a"), recorder.computing("b"), recorder.waiting("c"), recorder.computing("d")]
    await Pipeline(steps, executor).run(JOB, stages)
    assert recorder.ran == ["a", "b", "c", "d"]
    assert [name for name, _ in stages.durations_s] == ["a", "b", "c", "d"]


async def test_no_step_starts_after_the_deadline(executor: ThreadPoolExecutor) -> None:
    recorder = Recorder()
    steps = [recorder.computing("a"), recorder.computing("b")]
    token = current_call.set(CallContext("r", time.monotonic() - 1))
    try:
        with pytest.raises(DeadlineExceeded, match="step a"):
            await Pipeline(steps, executor).run(JOB, Stages())
    finally:
        current_call.reset(token)
    assert recorder.ran == ["a"]


async def test_cancelling_waits_for_the_running_step_and_starts_no_other(
    executor: ThreadPoolExecutor,
) -> None:
    recorder = Recorder()
    started, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    ended: list[bool] = []

    def slow(job: Job, state: State) -> None:
        loop.call_soon_threadsafe(started.set)
        may_end.wait(10)
        ended.append(True)

    pipeline = Pipeline([ComputingStep("slow", slow), recorder.computing("next")], executor)
    task = asyncio.create_task(pipeline.run(JOB, Stages()))
    await started.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done(), "its memory is still in use"
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
    assert recorder.ran == []


async def test_an_error_of_a_step_reaches_the_caller(executor: ThreadPoolExecutor) -> None:
    def fail(job: Job, state: State) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Pipeline([ComputingStep("fail", fail)], executor).run(JOB, Stages())


async def test_the_event_loop_is_free_while_steps_compute(executor: ThreadPoolExecutor) -> None:
    turned = threading.Event()

    def wait_for_the_loop(job: Job, state: State) -> None:
        assert turned.wait(10)

    task = asyncio.create_task(
        Pipeline([ComputingStep("compute", wait_for_the_loop)], executor).run(JOB, Stages())
    )
    await asyncio.sleep(0)
    turned.set()
    await task


def test_the_document_lists_the_steps_in_their_order() -> None:
    documented = re.findall(r"^\| \d+ \| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert documented == [step.name for step in build_steps(Decoder(), _NoSegmenter())]


class _NoSegmenter(MatteSource):
    """Never asked."""
