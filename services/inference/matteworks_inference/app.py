"""Wiring of the inference service: settings in, a warm service out."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import grpc
import structlog
from prometheus_client import CollectorRegistry

from matteworks.common.v1 import instance_pb2
from matteworks.inference.v1 import inference_pb2_grpc, inpainting_pb2_grpc
from matteworks.inference.v2 import open_inference_pb2_grpc
from matteworks_common.clock import Clock, SystemClock
from matteworks_common.health import HealthMonitor
from matteworks_common.instance import give_back_free_memory, resident_bytes
from matteworks_common.lifecycle import App
from matteworks_common.settings import SettingsError
from matteworks_common.shared_memory import Borrower
from matteworks_common.telemetry import RpcMetrics
from matteworks_common.tls import identity_in
from matteworks_imaging.decoding import Decoder, configure_libvips
from matteworks_inference.engines.choice import open_engine
from matteworks_inference.engines.contract import Engine, EngineUnavailable
from matteworks_inference.engines.gpu.memory import (
    CudaError,
    DeviceMemory,
    device_memory,
    open_cuda_runtime,
)
from matteworks_inference.engines.threads import DeviceThreads, usable_processor_count
from matteworks_inference.metrics import InferenceMetrics
from matteworks_inference.networks.graph import GraphError
from matteworks_inference.networks.graph_store import GraphStore
from matteworks_inference.networks.promptable import find_promptable
from matteworks_inference.networks.registry import (
    ModelEntry,
    Registry,
    RegistryError,
    UnknownModel,
    WrongWeights,
    load_registry,
    weights_path,
)
from matteworks_inference.open_inference.grpc_servicer import SERVICE_NAME as OPEN_INFERENCE_NAME
from matteworks_inference.open_inference.grpc_servicer import OpenInferenceServicer
from matteworks_inference.open_inference.models import OpenModels
from matteworks_inference.queueing.contract import BatchLimits
from matteworks_inference.queueing.door import PictureAdmission
from matteworks_inference.queueing.meter import LoadMeter
from matteworks_inference.queueing.queue import BatchQueue
from matteworks_inference.servicer import InferenceServicer
from matteworks_inference.settings import InferenceSettings
from matteworks_inference.subject.networks import SubjectNetworks
from matteworks_inference.tasks.inpainting.choice import open_painter
from matteworks_inference.tasks.inpainting.inpainting import Inpainting
from matteworks_inference.tasks.inpainting.servicer import INPAINTING_NAME, InpaintingServicer
from matteworks_inference.tasks.segmentation.loaded_models import LoadedModels
from matteworks_inference.tasks.segmentation.mattes import Mattes
from matteworks_inference.tasks.segmentation.segmenter import Segmenter
from matteworks_inference.tasks.selection.networks import PromptableNetworks
from matteworks_inference.tasks.selection.selection import PromptedMasks
from matteworks_inference.tasks.upscaling.upscaler import Upscaler

SERVICE_NAME: Final = "matteworks.inference.v1.InferenceService"
_CLOSING_GRACE_S: Final = 5.0
# Longer than the proxy's own idle time, so that no request meets a connection that is being closed.
_KEEP_ALIVE_S: Final = 3700
_LEAVING_LIMIT_S: Final = 20.0
log = structlog.get_logger()


class EngineGone(Exception):
    """The queue or its device has ended; readiness is lost for good."""


@dataclass
class Dependencies:
    """What a test replaces. None: made from the settings."""

    registry: Registry = field(default_factory=load_registry)
    engine: Engine | None = None
    clock: Clock = field(default_factory=SystemClock)
    end_process: Callable[[], None] = field(default_factory=lambda: end_process)


async def build(settings: InferenceSettings, dependencies: Dependencies | None = None) -> App:
    """The service with every model loaded and warm.

    Raises SettingsError when weights are missing or wrong, or when the device does not come up; what was
    opened by then is closed.
    """
    given = dependencies or Dependencies()
    async with AsyncExitStack() as opened:
        app = await _wire(settings, given, opened)
        app.closing.push_async_exit(opened.pop_all())
        return app


async def _wire(settings: InferenceSettings, given: Dependencies, opened: AsyncExitStack) -> App:
    thread_count = settings.threads or usable_processor_count()
    every = choose_models(settings, given.registry)
    chosen = [(entry, weights) for entry, weights in every if not entry.is_upscaler]
    upscalers = [(entry, weights) for entry, weights in every if entry.is_upscaler]
    configure_libvips(thread_count)
    registry = CollectorRegistry()
    meter = LoadMeter(given.clock)
    metrics = InferenceMetrics(registry, meter)
    rpc_metrics = RpcMetrics("inference", registry)
    graphs = GraphStore.beside_weights(settings.model_directory)
    try:
        engine = given.engine or open_engine(settings, thread_count=thread_count, graphs=graphs)
    except EngineUnavailable as error:
        raise SettingsError(str(error)) from error
    opened.callback(engine.close)
    workers = ThreadPoolExecutor(max(2, thread_count), thread_name_prefix="worker")
    opened.callback(workers.shutdown)
    threads = DeviceThreads()
    queue = BatchQueue(
        engine,
        BatchLimits(
            max_queued_items=settings.max_queued_items,
            max_batch_items=settings.batch_items,
            max_queue_delay_s=settings.max_queue_delay_ms / 1000,
            max_wait_s=settings.max_wait_s,
        ),
        clock=given.clock,
        observer=metrics,
        device_thread=threads.device,
        preparing_thread=threads.preparing,
        most_items_of=engine.most_items_of,
        on_lost=given.end_process,
    )

    async def close_queue() -> None:
        # The server has waited for the calls already; what still runs here has no caller.
        is_free = await queue.close(min(settings.grace_s, _CLOSING_GRACE_S))
        threads.close(waits=is_free)
        if not is_free:
            given.end_process()

    opened.push_async_callback(close_queue)
    loop = asyncio.get_running_loop()
    read_device_memory = _device_memory_reader(settings)
    grown_bytes: dict[str, int] = {}

    def held_bytes() -> int:
        # What an earlier model left free would hide what the next one takes.
        give_back_free_memory()
        return resident_bytes() + read_device_memory().used_bytes

    async def load(entry: ModelEntry, weights: Path) -> None:
        before_bytes = held_bytes()
        await loop.run_in_executor(threads.device, engine.load, entry, weights)
        grown_bytes[entry.name] = max(0, held_bytes() - before_bytes)
        metrics.model_loaded(entry.name, engine.facts_of(entry.name).label)

    try:
        for entry, weights in chosen:
            await load(entry, weights)
    except (EngineUnavailable, GraphError) as error:
        raise SettingsError(str(error)) from error
    if settings.device != "cpu":
        metrics.watch_device_memory(read_device_memory)
    queue.start()
    models = LoadedModels(given.registry, [entry for entry, _ in chosen])
    networks: SubjectNetworks | None = None
    if settings.detects_subject:
        networks = await loop.run_in_executor(workers, SubjectNetworks)
        opened.callback(networks.close)
    segmenter = Segmenter(models, queue, networks, workers)
    admission = PictureAdmission(settings.max_requests, settings.max_wait_s, given.clock, metrics)
    mattes = Mattes(segmenter, metrics, decoder=Decoder(), workers=workers, admission=admission)

    upscaler = Upscaler(
        upscalers[0] if upscalers else None,
        queue,
        metrics,
        load=load,
        # Tiles have a pace of their own.
        admission=PictureAdmission(settings.max_requests, settings.max_wait_s, given.clock, metrics),
    )
    prompted = PromptedMasks(
        await loop.run_in_executor(workers, _open_promptable, settings, thread_count),
        PictureAdmission(settings.max_requests, settings.max_wait_s, given.clock, metrics),
        given.clock,
    )
    opened.callback(prompted.close)
    directory = settings.shared_memory_directory
    borrower = Borrower(Path(directory), workers) if directory else None
    servicer = InferenceServicer(
        mattes,
        upscaler,
        prompted,
        engine,
        quality=settings.quality,
        borrower=borrower,
        grown_bytes=grown_bytes,
    )
    open_models = OpenModels(
        mattes,
        engine,
        given.clock,
        quality=settings.quality,
        max_pictures=settings.max_requests,
        is_ready=lambda: queue.is_alive,
    )

    inpainting = Inpainting(
        open_painter(settings, workers, opened),
        given.clock,
        metrics,
        max_requests=settings.painter_max_requests,
        timeout_s=settings.painter_timeout_s,
    )

    def add_servicers(server: grpc.aio.Server) -> None:
        inpainting_pb2_grpc.add_InpaintingServiceServicer_to_server(InpaintingServicer(inpainting), server)
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(servicer, server)
        open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
            OpenInferenceServicer(open_models), server
        )

    def read_load() -> instance_pb2.DeviceLoad:
        last, memory = meter.read(), read_device_memory()
        engines = sorted({engine.facts_of(entry.name).label for entry, _ in chosen})
        load = instance_pb2.DeviceLoad(
            engines=", ".join(engines),
            in_hand_count=admission.in_hand_count,
            waiting_count=queue.waiting_count,
            max_waiting_count=settings.max_queued_items,
            finished_count=last.picture_count,
            device_memory_used_bytes=memory.used_bytes,
            device_memory_total_bytes=memory.total_bytes,
        )
        load.expected_wait.FromNanoseconds(round(queue.expected_wait_s() * 1e9))
        load.busy_time.FromNanoseconds(round(last.busy_s * 1e9))
        load.window.FromNanoseconds(round(last.window_s * 1e9))
        return load

    async def check_engine() -> None:
        if not queue.is_alive:
            raise EngineGone

    return App(
        name="inference",
        service_names=(SERVICE_NAME, INPAINTING_NAME, OPEN_INFERENCE_NAME),
        add_servicers=add_servicers,
        checks={"engine": check_engine},
        registry=registry,
        rpc_metrics=rpc_metrics,
        beside=_http(settings, open_models, given.clock, rpc_metrics)
        if settings.http_listen_address
        else None,
        read_load=read_load,
    )


def _device_memory_reader(settings: InferenceSettings) -> Callable[[], DeviceMemory]:
    """Tells the memory of the GPU; nothing where there is none, or where it does not tell."""
    nothing = DeviceMemory(0, 0)
    if settings.device == "cpu":
        return lambda: nothing
    # Imported here: only a machine with a GPU needs it.
    import onnxruntime

    try:
        runtime = open_cuda_runtime(getattr(onnxruntime, "cuda_version", ""))
    except CudaError:
        return lambda: nothing

    def read() -> DeviceMemory:
        try:
            return device_memory(runtime)
        except CudaError:
            return nothing

    return read


def _open_promptable(settings: InferenceSettings, thread_count: int) -> PromptableNetworks | None:
    """The operator's network of the SAM family, where there is one. Raises SettingsError."""
    try:
        found = find_promptable(settings.model_directory)
        if found is None:
            return None
        entry, encoder, decoder = found
        providers = ["CPUExecutionProvider"]
        if settings.device != "cpu":
            providers.insert(0, "CUDAExecutionProvider")
        return PromptableNetworks(entry, encoder, decoder, threads=thread_count, providers=providers)
    except (WrongWeights, RegistryError, EngineUnavailable) as error:
        raise SettingsError(str(error)) from error


def _http(
    settings: InferenceSettings, models: OpenModels, clock: Clock, metrics: RpcMetrics
) -> Callable[[HealthMonitor], AbstractAsyncContextManager[int]]:
    """The Open Inference Protocol over HTTP."""
    # Imported here: a service without it needs no HTTP server.
    from matteworks_common.http_lifecycle import listening
    from matteworks_inference.open_inference.http_app import open_inference_app

    def listen(health: HealthMonitor) -> AbstractAsyncContextManager[int]:
        asgi = open_inference_app(
            models,
            clock,
            metrics,
            lambda: health.is_serving,
            max_body_bytes=settings.max_message_bytes,
            max_requests=settings.max_requests,
            max_wait_s=settings.max_wait_s,
        )
        return listening(
            asgi,
            settings.http_listen_address,
            _KEEP_ALIVE_S,
            settings.grace_s,
            identity_in(settings.tls_directory),
        )

    return listen


def choose_models(settings: InferenceSettings, registry: Registry) -> list[tuple[ModelEntry, Path]]:
    """The models to load with their verified weights, the default first; upscalers that are there, too.

    Raises SettingsError: none is there, a named one is unknown or missing, or a file is a wrong one.
    """
    directory = settings.model_directory
    names = settings.model_names or tuple(entry.name for entry in registry.entries)
    if settings.model_names and settings.engine != "triton":
        # Until it is used, what makes pictures larger costs nothing.
        names += tuple(e.name for e in registry.entries if e.is_upscaler and e.name not in names)
    chosen = []
    for name in names:
        try:
            entry = registry.find(name)
            if settings.requires_clear_licenses and not entry.has_clear_license:
                if name not in settings.model_names:
                    continue
                raise SettingsError(
                    f"The licence of the weights of {name} is unclear: leave it out of "
                    "MATTEWORKS_INFERENCE_MODELS, or set MATTEWORKS_INFERENCE_REQUIRES_CLEAR_LICENSES=false."
                )
            if settings.engine == "triton":
                # The server has the weights; nothing is read here.
                chosen.append((entry, directory / entry.file))
                continue
            path = weights_path(entry, directory)
        except (UnknownModel, WrongWeights) as error:
            raise SettingsError(str(error)) from error
        if path is not None:
            chosen.append((entry, path))
        elif name in settings.model_names:
            raise SettingsError(
                f"The weights of {name} are not in {directory.resolve()}. "
                f"Get them with: matteworks models pull {name} --models-dir {directory}"
            )
    if not any(not entry.is_upscaler for entry, _ in chosen):
        raise SettingsError(
            f"There are no weights for mattes in {directory.resolve()}. "
            f"Get them with: matteworks models pull --models-dir {directory}"
        )
    return chosen


def end_process() -> None:
    """Leave in order, so that a supervisor starts a sound process; by force when that hangs.

    A lost device may keep its thread for ever, and no shutdown waits for that.
    """
    watchdog = threading.Timer(_LEAVING_LIMIT_S, os._exit, [70])
    watchdog.daemon = True
    watchdog.start()
    os.kill(os.getpid(), signal.SIGTERM)
