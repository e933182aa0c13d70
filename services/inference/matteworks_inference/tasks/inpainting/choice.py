"""The painter that the settings name."""

from __future__ import annotations

from concurrent.futures import Executor
from contextlib import AsyncExitStack

from matteworks_common.settings import SettingsError
from matteworks_imaging.decoding import Decoder
from matteworks_inference.engines.contract import EngineUnavailable
from matteworks_inference.engines.threads import usable_processor_count
from matteworks_inference.networks.painters import find_painter
from matteworks_inference.networks.registry import RegistryError, WrongWeights
from matteworks_inference.settings import InferenceSettings
from matteworks_inference.tasks.inpainting.painter import NoPainter, Painter

__all__ = ["open_painter"]


def open_painter(settings: InferenceSettings, workers: Executor, opened: AsyncExitStack) -> Painter:
    """The painter, which `opened` closes. Blocks while a network is loaded.

    Raises SettingsError: the URL is not one, the network's file is not there or not as described.
    """
    try:
        painter = _open(settings, workers, opened)
    except (WrongWeights, RegistryError, EngineUnavailable) as error:
        raise SettingsError(str(error)) from error
    except ValueError as error:
        raise SettingsError(f"MATTEWORKS_INFERENCE_PAINTER_URL: {error}.") from error
    opened.push_async_callback(painter.aclose)
    return painter


def _open(settings: InferenceSettings, workers: Executor, opened: AsyncExitStack) -> Painter:
    sizes_px = settings.painter_sizes_px
    if settings.painter == "network":
        from matteworks_inference.tasks.inpainting.network import NetworkPainter

        entry, file = find_painter(settings.model_directory, settings.painter_model)
        providers = ["CPUExecutionProvider"]
        if settings.device != "cpu":
            providers.insert(0, "CUDAExecutionProvider")
        threads = settings.threads or usable_processor_count()
        return NetworkPainter(entry, file, workers, threads=threads, providers=providers)
    if settings.painter == "images":
        # Imported here, as below: only who has such a server needs it.
        from matteworks_inference.tasks.inpainting.images_server import ImagesServer, PaintOptions
        from matteworks_outbound.fetcher import SystemResolver
        from matteworks_outbound.named_server import NamedServer

        resolver = SystemResolver(threads=2)
        opened.callback(resolver.close)
        server = NamedServer(settings.painter_url, resolver, max_connections=settings.painter_max_requests)
        options = PaintOptions(settings.painter_model, settings.painter_key, sizes_px)
        return ImagesServer(server, options, Decoder(), workers)
    if settings.painter == "open_inference":
        from matteworks_inference.tasks.inpainting.open_inference_server import OpenInferenceServer

        return OpenInferenceServer(settings.painter_url, settings.painter_model, sizes_px, workers)
    return NoPainter()
