"""The Open Inference Protocol against the real server: its answers are those of `Segment`."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from PIL import Image

from matteworks.common.v1 import image_pb2
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks.inference.v2 import open_inference_pb2 as pb
from matteworks.inference.v2 import open_inference_pb2_grpc
from matteworks_common.channels import call, open_channel
from matteworks_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidField,
    InvalidPicture,
    LimitExceeded,
    NotFound,
)
from matteworks_common.lifecycle import App, running
from matteworks_common.settings import MEBIBYTE
from matteworks_inference.app import Dependencies, build
from matteworks_inference.engines.fake import FakeEngine
from matteworks_inference.settings import InferenceSettings
from tests.unit.inference.tiny_networks import SIDE_PX, tiny_registry

JSON_LENGTH = "inference-header-content-length"
RNG = np.random.default_rng(3)


@dataclass
class Server:
    """A service with two fake networks, over both protocols."""

    app: App
    engine: FakeEngine
    stub: open_inference_pb2_grpc.GRPCInferenceServiceStub
    ours: inference_pb2_grpc.InferenceServiceStub
    http: httpx.AsyncClient

    async def infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        return await call(self.stub.ModelInfer, request, timeout_s=20)

    async def segment(self, rgb: np.ndarray) -> bytes:
        size = image_pb2.Size(width_px=rgb.shape[1], height_px=rgb.shape[0])
        request = inference_pb2.SegmentRequest(
            pixels=image_pb2.Pixels(rgb=rgb.tobytes(), size=size), model="any"
        )
        return (await call(self.ours.Segment, request, timeout_s=20)).matte.alpha

    async def post(self, document: Any, *raw: bytes, model: str = "any") -> httpx.Response:
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers = {JSON_LENGTH: str(len(text))} if raw else {}
        return await self.http.post(
            f"/v2/models/{model}/infer", content=b"".join([text, *raw]), headers=headers
        )


@asynccontextmanager
async def server_in(directory: Path, **changes: Any) -> AsyncIterator[Server]:
    registry = tiny_registry(directory, any="general", quick="small")
    settings = InferenceSettings(
        **{
            "listen_address": "127.0.0.1:0", "http_listen_address": "127.0.0.1:0", "drain_delay_s": 0,
            "grace_s": 1, "model_directory": directory, "threads": 1, "models": "any",
            "detects_subject": False, **changes,
        }
    )  # fmt: skip
    engine = FakeEngine()
    app = await build(settings, Dependencies(registry=registry, engine=engine))
    async with running(app, settings) as service:
        await service.health.poll()
        async with (
            open_channel(f"127.0.0.1:{service.port}", 96 * MEBIBYTE) as channel,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.beside_port}", timeout=20) as http,
        ):
            yield Server(
                app,
                engine,
                open_inference_pb2_grpc.GRPCInferenceServiceStub(channel),
                inference_pb2_grpc.InferenceServiceStub(channel),
                http,
            )
            engine.gate.set()


def noise(count: int = 1, height: int = SIDE_PX, width: int = SIDE_PX) -> np.ndarray:
    return RNG.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def pixels_request(pixels: np.ndarray, model: str = "any", **fields: Any) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="pixels", datatype="UINT8", shape=pixels.shape)
    return pb.ModelInferRequest(
        model_name=model, inputs=[tensor], raw_input_contents=[pixels.tobytes()], **fields
    )


def png(rgb: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    return buffer.getvalue()


def image_request(*files: bytes, model: str = "any") -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(
        name="image",
        datatype="BYTES",
        shape=[len(files)],
        contents=pb.InferTensorContents(bytes_contents=files),
    )
    return pb.ModelInferRequest(model_name=model, inputs=[tensor])


def matte_of(response: pb.ModelInferResponse) -> np.ndarray:
    index = [output.name for output in response.outputs].index("matte")
    raw = response.raw_output_contents[index]
    return np.frombuffer(raw, np.uint8).reshape(tuple(response.outputs[index].shape))


async def test_pixels_get_the_mattes_of_segment_in_their_order(tmp_path: Path) -> None:
    async with server_in(tmp_path) as server:
        pixels = noise(5)

        response = await server.infer(pixels_request(pixels, id="seven"))

        mattes = matte_of(response)
        assert [matte.tobytes() for matte in mattes] == [await server.segment(rgb) for rgb in pixels]
        assert (response.id, response.model_name, response.model_version) == ("seven", "any", "1")
        names = [output.name for output in response.outputs]
        assert names == ["matte", "subject_type", "confidence", "model"]


async def test_encoded_pictures_get_the_mattes_of_segment(tmp_path: Path) -> None:
    async with server_in(tmp_path) as server:
        pixels = noise(2)

        response = await server.infer(image_request(*(png(rgb) for rgb in pixels)))

        expected = [await server.segment(rgb) for rgb in pixels]
        assert [matte.tobytes() for matte in matte_of(response)] == expected


async def test_the_model_that_chooses_says_which_networks_it_chose(tmp_path: Path) -> None:
    async with server_in(tmp_path, models="any,quick") as server:
        response = await server.infer(pixels_request(noise(), model="matteworks"))

        names = [output.name for output in response.outputs]
        # Written after its length in 4 bytes.
        chosen = response.raw_output_contents[names.index("model")][4:].decode()
        assert set(chosen.split("+")) == {"any", "quick"}


async def test_quality_chooses_the_networks(tmp_path: Path) -> None:
    async with server_in(tmp_path, models="any,quick") as server:
        quality = pb.InferParameter(string_param="fast")
        await server.infer(pixels_request(noise(), model="matteworks", parameters={"quality": quality}))

        assert [run.key.model for run in server.engine.runs] == ["quick"]


async def test_only_the_outputs_that_were_asked_for_come_back(tmp_path: Path) -> None:
    async with server_in(tmp_path) as server:
        wanted = [pb.ModelInferRequest.InferRequestedOutputTensor(name="matte")]

        response = await server.infer(pixels_request(noise(), outputs=wanted))

        assert [output.name for output in response.outputs] == ["matte"]


async def test_server_and_models_tell_what_they_are(tmp_path: Path) -> None:
    async with server_in(tmp_path) as server:
        live = await call(server.stub.ServerLive, pb.ServerLiveRequest(), timeout_s=5)
        ready = await call(server.stub.ServerReady, pb.ServerReadyRequest(), timeout_s=5)
        facts = await call(server.stub.ServerMetadata, pb.ServerMetadataRequest(), timeout_s=5)
        metadata = await call(server.stub.ModelMetadata, pb.ModelMetadataRequest(name="any"), timeout_s=5)
        names = ["any", "matteworks", "quick", "none"]
        states = [
            (await call(server.stub.ModelReady, pb.ModelReadyRequest(name=name), timeout_s=5)).ready
            for name in names
        ]

        assert (live.live, ready.ready, facts.name) == (True, True, "matteworks")
        assert dict(zip(names, states, strict=True)) == {
            "any": True, "matteworks": True, "quick": False, "none": False,
        }  # fmt: skip
        pixels = next(tensor for tensor in metadata.inputs if tensor.name == "pixels")
        assert (pixels.datatype, list(pixels.shape)) == ("UINT8", [-1, -1, -1, 3])


async def test_http_says_the_same(tmp_path: Path) -> None:
    async with server_in(tmp_path) as server:
        assert (await server.http.get("/v2")).json()["name"] == "matteworks"
        assert (await server.http.get("/v2/health/live")).status_code == 200
        assert (await server.http.get("/v2/health/ready")).status_code == 200
        assert (await server.http.get("/v2/models/any/ready")).status_code == 200
        assert (await server.http.get("/v2/models/any/versions/1/ready")).status_code == 200
        assert (await server.http.get("/v2/models/none/ready")).status_code == 404
        metadata = (await server.http.get("/v2/models/any")).json()
        assert [tensor["name"] for tensor in metadata["inputs"]] == ["image", "pixels"]


@pytest.mark.parametrize("is_binary", [True, False], ids=["binary", "JSON"])
async def test_http_gives_the_matte_as_it_is_asked_for(tmp_path: Path, is_binary: bool) -> None:
    async with server_in(tmp_path) as server:
        pixels = noise()
        described: dict[str, Any] = {"name": "pixels", "datatype": "UINT8", "shape": list(pixels.shape)}
        raw = []
        if is_binary:
            described["parameters"] = {"binary_data_size": pixels.nbytes}
            raw = [pixels.tobytes()]
        else:
            described["data"] = pixels.tolist()
        wanted = [{"name": "matte", "parameters": {"binary_data": is_binary}}]

        answer = await server.post({"id": "a", "inputs": [described], "outputs": wanted}, *raw)

        assert answer.status_code == 200, answer.text
        length = int(answer.headers.get(JSON_LENGTH, len(answer.content)))
        document = json.loads(answer.content[:length])
        (output,) = document["outputs"]
        alpha = answer.content[length:] if is_binary else bytes(output["data"])
        assert alpha == await server.segment(pixels[0])
        assert output["shape"] == [1, SIDE_PX, SIDE_PX]
        assert document["id"] == "a"


async def test_http_takes_an_encoded_picture_in_base64(tmp_path: Path) -> None:
    import base64

    async with server_in(tmp_path) as server:
        rgb = noise()[0]
        data = [base64.b64encode(png(rgb)).decode()]
        described = {"name": "image", "datatype": "BYTES", "shape": [1], "data": data}

        answer = await server.post(
            {
                "inputs": [described],
                "outputs": [{"name": "matte"}],
                "parameters": {"binary_data_output": True},
            }
        )

        assert answer.content[int(answer.headers[JSON_LENGTH]) :] == await server.segment(rgb)


def tensor(name: str, datatype: str, shape: list[int]) -> pb.ModelInferRequest.InferInputTensor:
    return pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        (pixels_request(noise(), model="none"), NotFound, "model"),
        (pixels_request(noise(), model="quick"), FailedPrecondition, "not loaded"),
        (pixels_request(noise(), model_version="2"), NotFound, "version"),
        (pb.ModelInferRequest(model_name="any"), InvalidField, "one input"),
        (pixels_request(noise()[..., :1]), InvalidField, "red first"),
        (pixels_request(noise(0)), InvalidField, "1 to 64"),
        (pixels_request(noise(1, 1, 4097)), InvalidField, "4096"),
        (image_request(b"not a picture"), InvalidPicture, ""),
        (image_request(png(noise()[0]), png(noise(1, 16, 16)[0])), InvalidField, "one by one"),
        (
            pb.ModelInferRequest(
                model_name="any",
                inputs=[tensor("pixels", "UINT8", [1, 2**31, 2**31, 3])],
                raw_input_contents=[b"abc"],
            ),
            InvalidField,
            "bytes",
        ),
        (
            pb.ModelInferRequest(
                model_name="any", inputs=[tensor("image", "BYTES", [2**40])], raw_input_contents=[b"\xff" * 9]
            ),
            InvalidField,
            "end before",
        ),
        (
            pb.ModelInferRequest(
                model_name="any", inputs=[tensor("pixels", "FP32", [1])], raw_input_contents=[bytes(4)]
            ),
            InvalidField,
            "UINT8",
        ),
        (
            pixels_request(noise(), parameters={"quality": pb.InferParameter(string_param="superb")}),
            InvalidField,
            "balanced",
        ),
        (
            pixels_request(
                noise(), outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="depth")]
            ),
            InvalidField,
            "no such output",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_a_wrong_request_is_told_what_to_change_and_costs_no_run(
    tmp_path: Path, request_: pb.ModelInferRequest, kind: type[Exception], words: str
) -> None:
    async with server_in(tmp_path) as server:
        with pytest.raises(kind) as refusal:
            await server.infer(request_)

        assert words in str(refusal.value)
        assert server.engine.runs == []


@pytest.mark.parametrize(
    ("body", "raw"),
    [
        (b"not JSON", []),
        (b"[" * 100_000, []),
        (b"{}", []),
        (b'{"inputs": 3}', []),
        (b'{"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": "all"}]}', []),
        (
            b'{"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1,1,1,3], "data": [1, 2, 300]}]}',
            [],
        ),
        (
            b'{"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1,1,1,3], "data": [[1], 2, 3]}]}',
            [],
        ),
        (
            b'{"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1,1,1,3], "data": [0.5, 2, 3]}]}',
            [],
        ),
        (b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["***"]}]}', []),
        (
            (
                b'{"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": [1], "parameters": '
                b'{"binary_data_size": 99}}]}'
            ),
            [b"abc"],
        ),
        (b'{"inputs": []}', [b"left over"]),
    ],
)
async def test_a_wrong_body_is_refused_with_a_sentence(tmp_path: Path, body: bytes, raw: list[bytes]) -> None:
    async with server_in(tmp_path) as server:
        answer = await server.post(body, *raw)

        assert answer.status_code == 400
        assert answer.json()["error"].endswith(".")
        assert server.engine.runs == []


async def test_a_body_that_is_too_large_is_refused_while_it_arrives(tmp_path: Path) -> None:
    async with server_in(tmp_path, max_message_bytes=8 * MEBIBYTE) as server:
        answer = await server.post({"inputs": []}, bytes(9 * MEBIBYTE))

        assert answer.status_code == 400
        assert "at most 8388608 bytes" in answer.json()["error"]


async def test_a_flood_is_refused_with_a_time_to_come_back(tmp_path: Path) -> None:
    async with server_in(tmp_path, max_requests=2) as server:
        server.engine.gate.clear()
        first = asyncio.create_task(server.infer(pixels_request(noise(2))))
        await asyncio.to_thread(server.engine.has_begun.wait, 10)

        with pytest.raises(LimitExceeded) as refusal:
            await server.infer(pixels_request(noise()))
        described = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}
        answer = await server.post({"inputs": [described]})
        server.engine.gate.set()

        assert refusal.value.retry_after_s
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert len(matte_of(await first)) == 2


async def test_the_timeout_of_a_request_is_its_deadline(tmp_path: Path) -> None:
    async with server_in(tmp_path) as server:
        server.engine.gate.clear()
        timeout = pb.InferParameter(int64_param=50_000)

        with pytest.raises(DeadlineExceeded):
            await server.infer(pixels_request(noise(), parameters={"timeout": timeout}))


async def test_a_caller_that_leaves_frees_its_place(tmp_path: Path) -> None:
    async with server_in(tmp_path, max_requests=1) as server:
        server.engine.gate.clear()
        described = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}
        leaving = asyncio.create_task(server.post({"inputs": [described]}))
        await asyncio.to_thread(server.engine.has_begun.wait, 10)
        leaving.cancel()
        server.engine.gate.set()

        async with asyncio.timeout(10):
            while True:
                try:
                    await server.segment(noise()[0])
                except LimitExceeded:
                    continue
                break


async def test_both_protocols_are_counted(tmp_path: Path) -> None:
    async with server_in(tmp_path) as server:
        await server.infer(pixels_request(noise()))
        described = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}
        assert (await server.post({"inputs": [described]})).status_code == 200

        value = server.app.registry.get_sample_value
        for method in ("ModelInfer", "ModelInferHttp"):
            labels = {"method": method, "code": "OK"}
            assert value("matteworks_inference_rpc_total", labels) == 1, method
        counted = sum(
            sample.value
            for metric in server.app.registry.collect()
            if metric.name == "matteworks_inference_segmented"
            for sample in metric.samples
            if sample.name.endswith("_total")
        )
        assert counted == 2


async def test_reflection_lists_the_service(tmp_path: Path) -> None:
    async with server_in(tmp_path) as server:
        assert "inference.GRPCInferenceService" in server.app.service_names


async def test_without_the_setting_nothing_listens_for_http(tmp_path: Path) -> None:
    async with server_in(tmp_path) as server:
        assert server.app.beside is not None
    registry = tiny_registry(tmp_path, any="general")
    settings = InferenceSettings(
        listen_address="127.0.0.1:0", model_directory=tmp_path, threads=1, models="any", detects_subject=False
    )
    app = await build(settings, Dependencies(registry=registry, engine=FakeEngine()))
    async with app.closing:
        assert app.beside is None


def test_statuses_cover_every_code_that_our_errors_have() -> None:
    from matteworks_inference.open_inference.http_app import _STATUSES

    raised = {
        kind.code for kind in (InvalidField, NotFound, FailedPrecondition, LimitExceeded, DeadlineExceeded)
    }
    assert raised | {grpc.StatusCode.UNAVAILABLE} <= set(_STATUSES)
