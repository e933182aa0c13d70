"""Wires the compositor: what is opened here is closed in reverse order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import cv2
import grpc
from prometheus_client import CollectorRegistry

from matteworks.compositor.v1 import compositor_pb2, compositor_pb2_grpc, edit_pb2, edit_pb2_grpc
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_common.channels import open_channel, probe
from matteworks_common.clock import Clock, SystemClock
from matteworks_common.health import Check
from matteworks_common.lifecycle import App
from matteworks_common.shared_memory import Lender
from matteworks_common.tls import identity_in
from matteworks_compositor.admission import Admission
from matteworks_compositor.compositor import Compositor
from matteworks_compositor.editing.corrector import Corrector
from matteworks_compositor.editing.editor import Editor
from matteworks_compositor.editing.enlarger import Enlarger
from matteworks_compositor.editing.kept_mattes import keep_mattes
from matteworks_compositor.editing.network_mattes import NetworkMattes
from matteworks_compositor.editing.painting.by_prompt import Painting
from matteworks_compositor.editing.painting.client import PaintingClient
from matteworks_compositor.editing.put_back import PutBack
from matteworks_compositor.editing.selecting.prompted_masks import PromptedMasks
from matteworks_compositor.editing.selecting.selector import Selector
from matteworks_compositor.editing.servicer import EditServicer
from matteworks_compositor.editing.with_matte import WithMatte
from matteworks_compositor.editing.workbench import Workbench
from matteworks_compositor.inference_client import InferenceClient
from matteworks_compositor.metrics import CompositorMetrics
from matteworks_compositor.pipeline.pipeline import Pipeline, build_steps
from matteworks_compositor.preview import Preview
from matteworks_compositor.servicer import CompositorServicer
from matteworks_compositor.settings import CompositorSettings
from matteworks_compositor.upscaling_client import UpscalingClient
from matteworks_compositor.yielding import InteractiveFirst
from matteworks_imaging.decoding import Decoder, configure_libvips

__all__ = ["build"]

SERVICE_NAMES = (
    compositor_pb2.DESCRIPTOR.services_by_name["CompositorService"].full_name,
    edit_pb2.DESCRIPTOR.services_by_name["EditService"].full_name,
)
HEALTH_TIMEOUT_S = 1.5
# What a result's message holds besides the file.
ENVELOPE_BYTES = 64 * 1024


async def build(settings: CompositorSettings, clock: Clock | None = None) -> App:
    """A compositor that is ready to listen."""
    threads = settings.thread_count
    configure_libvips(threads)
    cv2.setNumThreads(threads)
    registry = CollectorRegistry()
    clock = clock or SystemClock()
    # One core stays for whoever comes next.
    turns = InteractiveFirst(clock, quiet_s=settings.quiet_s, most_deferred=max(1, threads - 1))
    admission = Admission(settings.max_megapixels_in_flight, settings.max_megapixels_waiting, clock, turns)
    identity = identity_in(settings.tls_directory)
    async with AsyncExitStack() as opened:
        channel = await opened.enter_async_context(
            open_channel(settings.inference_target, settings.max_message_bytes, identity)
        )
        executor = ThreadPoolExecutor(threads, thread_name_prefix="compositor")
        opened.callback(executor.shutdown, cancel_futures=True)
        lender: Lender | None = None
        if settings.shared_memory_directory:
            lender = Lender(Path(settings.shared_memory_directory))
            opened.callback(lender.close)
        decoder, mattes = Decoder(), InferenceClient(channel, settings.inference_timeout_s, lender)
        steps = build_steps(decoder, mattes, threads)
        compositor = Compositor(
            Pipeline(steps, executor),
            admission,
            CompositorMetrics(registry, admission, turns),
            settings.max_message_bytes - ENVELOPE_BYTES,
        )
        bench = Workbench(
            decoder,
            executor,
            admission,
            threads=threads,
            max_result_bytes=settings.max_message_bytes - ENVELOPE_BYTES,
        )
        editor = Editor(bench, mattes)
        painting = Painting(bench, PaintingClient(channel, settings.painting_timeout_s))
        enlarger = Enlarger(
            bench,
            UpscalingClient(channel, settings.inference_timeout_s),
            network_pixels=settings.upscale_network_megapixels * 1e6,
        )
        network_mattes = NetworkMattes(compositor, decoder, executor, keep_mattes(clock))
        with_matte = WithMatte(compositor, executor, threads=threads)
        corrector = Corrector(with_matte, network_mattes, decoder, executor)
        prompted = PromptedMasks(channel, settings.inference_timeout_s, clock)
        selector = Selector(with_matte, network_mattes, prompted, decoder, executor)

        def add_servicers(server: grpc.aio.Server) -> None:
            compositor_pb2_grpc.add_CompositorServiceServicer_to_server(
                CompositorServicer(compositor, Preview(mattes)), server
            )
            edit_pb2_grpc.add_EditServiceServicer_to_server(
                EditServicer(
                    editor,
                    painting,
                    corrector,
                    selector,
                    enlarger,
                    PutBack(bench, network_mattes),
                    erases_by_painter=settings.eraser == "painter",
                ),
                server,
            )

        return App(
            name="compositor",
            service_names=SERVICE_NAMES,
            add_servicers=add_servicers,
            checks={"inference": _inference_check(channel)},
            closing=opened.pop_all(),
            registry=registry,
        )


def _inference_check(channel: grpc.aio.Channel) -> Check:
    # Not grpc.health: the channel may lead to the internal listener, which routes by service name, and
    # the health service has the same name everywhere.
    stub = inference_pb2_grpc.InferenceServiceStub(channel)

    async def check() -> None:
        await probe(stub.ListModels, inference_pb2.ListModelsRequest(), timeout_s=HEALTH_TIMEOUT_S)

    return check
