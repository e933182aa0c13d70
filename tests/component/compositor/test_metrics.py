"""What an operator sees."""

from __future__ import annotations

from matteworks.compositor.v1 import compositor_pb2 as pb
from matteworks.compositor.v1 import compositor_pb2_grpc
from matteworks_compositor.app import build
from tests.component.compositor.conftest import settings_for
from tests.component.compositor.pictures import encoded, gradient
from tests.support.fake_inference import running_inference
from tests.support.harness import channel_to


async def test_results_pixels_and_every_step_are_counted() -> None:
    async with running_inference() as inference:
        settings = settings_for(inference)
        app = await build(settings)
        async with channel_to(app, settings) as channel:
            stub = compositor_pb2_grpc.CompositorServiceStub(channel)
            response = await stub.RemoveBackground(
                pb.RemoveBackgroundRequest(image=encoded(gradient(60, 40)))
            )

        def value(name: str, **labels: str) -> float | None:
            return app.registry.get_sample_value(f"matteworks_compositor_{name}", labels)

        assert value("results_total", format="png") == 1
        assert value("result_bytes_total", format="png") == len(response.rendering.image)
        assert value("input_pixels_total") == 2400
        assert value("step_seconds_count", step="encode") == 1
        assert value("megapixels_in_flight") == value("megapixels_waiting") == 0
