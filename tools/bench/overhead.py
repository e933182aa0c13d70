"""What services, Envoy and serialisation add: a whole request beside the same steps called in one process.

python -m tools.bench.overhead --photo PHOTO [--sizes 2,10] [--rounds 15]

Both take turns on the same bytes, so a noisy moment meets both alike; the figure is the median difference of
neighbours. One process means: the compositor's pipeline with the inference service's own segmenter behind it,
no socket, no message, no account.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from matteworks_common.clock import SystemClock
from matteworks_common.stages import Stages
from matteworks_common.vocabulary import SUBJECT_TYPES
from matteworks_compositor.inference_client import Segmentation
from matteworks_compositor.options.model import OutputFormat, Quality, RenderOptions, SubjectType
from matteworks_compositor.pipeline.job import Job
from matteworks_compositor.pipeline.pipeline import Pipeline, build_steps
from matteworks_imaging.box import Size
from matteworks_imaging.decoding import Decoder, configure_libvips
from matteworks_imaging.limits import admit_file
from matteworks_inference.app import choose_models
from matteworks_inference.engines.choice import open_engine
from matteworks_inference.engines.threads import DeviceThreads
from matteworks_inference.metrics import InferenceMetrics
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.registry import load_registry
from matteworks_inference.picture import Picture
from matteworks_inference.queueing.contract import BatchLimits
from matteworks_inference.queueing.queue import BatchQueue
from matteworks_inference.settings import InferenceSettings
from matteworks_inference.subject.networks import SubjectNetworks
from matteworks_inference.tasks.segmentation.loaded_models import LoadedModels
from matteworks_inference.tasks.segmentation.segmenter import Segmenter
from tools.bench.pictures import scaled_jpeg
from tools.bench.servers import our_stack


class LocalSegmenter:
    """The compositor's `Segmenter`, without a wire."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter

    async def segment(
        self,
        pixels: NDArray[np.uint8],
        *,
        source_size: Size,
        model: str,
        quality: Quality,
        subject_type: SubjectType,
    ) -> Segmentation:
        """See `matteworks_compositor.inference_client.Segmenter`."""
        segmented = await self._segmenter.segment(
            Picture(pixels, source_size.width_px, source_size.height_px),
            model=model,
            subject_type="",
            quality="balanced",
            deadline_s=None,
            stages=Stages(),
        )
        found = segmented.subject.type
        number = SUBJECT_TYPES.get(found, 0)
        return Segmentation(
            segmented.matte, SubjectType(number), segmented.subject.confidence, segmented.model
        )


@asynccontextmanager
async def one_process(model: str, models_dir: Path) -> AsyncIterator[Pipeline]:
    """The compositor's pipeline with the networks in this process."""
    settings = InferenceSettings(model_directory=models_dir, models=model)
    thread_count = os.cpu_count() or 1
    configure_libvips(thread_count)
    cv2.setNumThreads(thread_count)
    graphs = GraphStore.beside_weights(models_dir)
    engine = open_engine(settings, thread_count=thread_count, graphs=graphs)
    chosen = choose_models(settings, load_registry())
    for entry, weights in chosen:
        engine.load(entry, weights)
    threads = DeviceThreads()
    workers = ThreadPoolExecutor(thread_count)
    queue = BatchQueue(
        engine,
        BatchLimits(max_queued_items=1, max_batch_items=1, max_queue_delay_s=0, max_wait_s=60),
        clock=SystemClock(),
        observer=InferenceMetrics(CollectorRegistry()),
        device_thread=threads.device,
        preparing_thread=threads.preparing,
        most_items_of=engine.most_items_of,
    )
    queue.start()
    networks = SubjectNetworks()
    models = LoadedModels(load_registry(), [entry for entry, _ in chosen])
    try:
        segmenter = LocalSegmenter(Segmenter(models, queue, networks, workers))
        yield Pipeline(build_steps(Decoder(), segmenter, thread_count), workers)
    finally:
        await queue.close(1.0)
        threads.close()
        networks.close()
        workers.shutdown()
        engine.close()


async def render(pipeline: Pipeline, picture: bytes) -> float:
    """Seconds that one picture takes in this process."""
    start = time.perf_counter()
    job = Job("bench", admit_file(picture), RenderOptions(format=OutputFormat.PNG))
    await pipeline.run(job, Stages())
    return time.perf_counter() - start


async def measure(arguments: argparse.Namespace) -> None:
    """Print one row a size."""
    print("| picture | one process | whole stack | added |\n|---|---|---|---|")
    with our_stack(arguments.model, arguments.models_dir) as server, httpx.Client(timeout=600) as client:
        async with one_process(arguments.model, arguments.models_dir) as pipeline:
            for megapixels in map(float, arguments.sizes.split(",")):
                picture = scaled_jpeg(arguments.photo, megapixels)
                pairs = []
                for _ in range(arguments.rounds + 1):
                    alone_s = await render(pipeline, picture)
                    start = time.perf_counter()
                    server.ask(client, picture, arguments.model)
                    pairs.append((alone_s, time.perf_counter() - start))
                # The first pair is for warming up.
                alone_ms, stack_ms = (statistics.median(side) * 1e3 for side in zip(*pairs[1:], strict=True))
                added_ms = statistics.median(stack - alone for alone, stack in pairs[1:]) * 1e3
                print(
                    f"| {megapixels:g} MP | {alone_ms:.0f} ms | {stack_ms:.0f} ms | {added_ms:.0f} ms |",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--sizes", default="2,10", help="megapixels")
    parser.add_argument("--model", default="u2netp", help="a fast one drowns the difference least")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--rounds", type=int, default=15)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
