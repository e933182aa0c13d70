"""What a deployment must do, tried one after the other, and what to do when it does not."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import grpc
import httpx

from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks.compositor.v1 import compositor_pb2, compositor_pb2_grpc
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks.jobs.v1 import jobs_pb2, jobs_pb2_grpc
from matteworks_cli.doctor.expiry import certificates_last
from matteworks_cli.doctor.findings import Deployment, Finding
from matteworks_client import MatteworksClient, MatteworksError
from matteworks_common.channels import open_blocking_channel
from matteworks_common.settings import MEBIBYTE
from matteworks_common.tls import identity_in

_PATIENCE_S: Final = 5.0
_BATCH_S: Final = 60.0
_MESSAGE_BYTES: Final = 16 * MEBIBYTE
# Well-formed and never issued: whoever answers that it is not valid has looked into the books.
_NOBODY: Final = "mw_live_readiness_" + "0" * 43
_ALIVE: Final = (
    grpc.StatusCode.OK,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
)


def examine(deployment: Deployment) -> Iterator[Finding]:
    """Every finding, as it is made. What depends on something that failed is left out."""
    gateway = gateway_answers(deployment)
    yield gateway
    yield from certificates_last(deployment)
    services = list(services_answer(deployment))
    yield from services
    if not gateway.is_well or not all(finding.is_well for finding in services):
        return
    key = key_works(deployment)
    yield key
    yield networks_are_loaded(deployment)
    if key.is_well:
        yield picture_is_cut_out(deployment)
        yield from batch_ends(deployment)


def gateway_answers(deployment: Deployment) -> Finding:
    """The public listener and the gateway behind it."""
    what = "gateway"
    try:
        answer = httpx.get(f"{deployment.base_url}/readyz", timeout=_PATIENCE_S)
    except httpx.HTTPError as error:
        return Finding(
            what,
            f"{deployment.base_url} cannot be reached: {error or type(error).__name__}",
            "Start Envoy, or say where it listens with --base-url. A certificate of your own authority is "
            "believed when SSL_CERT_FILE names that authority's.",
        )
    if answer.status_code == httpx.codes.OK:
        return Finding(what, f"ready at {deployment.base_url}")
    return Finding(
        what,
        f"{answer.status_code}: {answer.text[:200]}",
        "Envoy answers and the gateway is not ready; look at the services below and at the gateway's log.",
    )


def services_answer(deployment: Deployment) -> Iterator[Finding]:
    """Each service behind the internal listener, by a call that changes nothing."""
    with open_blocking_channel(
        deployment.target, _MESSAGE_BYTES, identity_in(deployment.tls_directory)
    ) as channel:
        calls: dict[str, Callable[[], object]] = {
            "auth": lambda: auth_pb2_grpc.AuthServiceStub(channel).Authenticate(
                auth_pb2.AuthenticateRequest(api_key=_NOBODY), timeout=_PATIENCE_S
            ),
            "compositor": lambda: compositor_pb2_grpc.CompositorServiceStub(channel).Inspect(
                compositor_pb2.InspectRequest(image=deployment.photo), timeout=_PATIENCE_S
            ),
            "inference": lambda: inference_pb2_grpc.InferenceServiceStub(channel).ListModels(
                inference_pb2.ListModelsRequest(), timeout=_PATIENCE_S
            ),
            "jobs": lambda: jobs_pb2_grpc.JobServiceStub(channel).GetBatch(
                jobs_pb2.GetBatchRequest(account_id="doctor", batch_id="none"), timeout=_PATIENCE_S
            ),
        }
        for name, call in calls.items():
            yield _service(name, call, deployment.target)


def _service(name: str, call: Callable[[], object], target: str) -> Finding:
    start_s = time.perf_counter()
    try:
        call()
    except grpc.RpcError as error:
        code, details = error.code(), error.details()
        if code not in _ALIVE:
            return Finding(
                name,
                f"{code.name}: {details}",
                f"Start {name}, and let Envoy know it. The internal listener was looked for at {target}.",
            )
    return Finding(name, f"answers in {1000 * (time.perf_counter() - start_s):.0f} ms")


def key_works(deployment: Deployment) -> Finding:
    """The key, and whether it may spend."""
    try:
        with _client(deployment) as client:
            account = client.account_of_key(deployment.key)
    except MatteworksError as error:
        return Finding("key", error.message, "Make one with `matteworks keys create` and give it with --key.")
    milli = account.subscription_credits_milli + account.payg_credits_milli + account.enterprise_credits_milli
    told = f"account {account.account_id}, plan {account.plan}, {milli / 1000:g} credits"
    if milli < 2000 and not account.free_call_count:
        return Finding("key", told, "Grant credits with `matteworks accounts grant`: two are needed here.")
    return Finding("key", told)


def networks_are_loaded(deployment: Deployment) -> Finding:
    """Whether mattes come from more than the small network."""
    with _client(deployment) as client:
        models = client.list_models()
    loaded = [model for model in models if model.is_loaded and model.task == "segmentation"]
    told = ", ".join(f"{model.name} on {model.engine}" for model in loaded) or "none"
    if len(loaded) < 2:
        return Finding(
            "networks",
            told,
            "Mattes are coarser than they need be: fetch the others with `matteworks models pull`, and leave "
            "MATTEWORKS_INFERENCE_MODELS empty.",
        )
    return Finding("networks", told)


def picture_is_cut_out(deployment: Deployment) -> Finding:
    """One photo through everything."""
    start_s = time.perf_counter()
    try:
        answer = httpx.post(
            f"{deployment.base_url}/v1.0/removebg",
            headers={"X-Api-Key": deployment.key},
            files={"image_file": ("photo.jpg", deployment.photo)},
            timeout=60,
        )
    except httpx.HTTPError as error:
        return Finding("removal", str(error) or type(error).__name__, "Look at the gateway's log.")
    if answer.status_code != httpx.codes.OK:
        return Finding("removal", f"{answer.status_code}: {answer.text[:200]}", "Look at the gateway's log.")
    return Finding("removal", f"200 in {time.perf_counter() - start_s:.1f} s")


def batch_ends(deployment: Deployment) -> Iterator[Finding]:
    """A batch of one: a worker takes it, the store keeps the result, and its URL leads here."""
    with _client(deployment) as client:
        try:
            batch = client.submit_batch([deployment.photo], key=deployment.key)
        except MatteworksError as error:
            yield Finding("batch", error.message, "Look at the log of jobs and at its store of results.")
            return
        deadline_s = time.monotonic() + _BATCH_S
        while not client.batch(batch.batch_id, key=deployment.key).is_ended:
            if time.monotonic() > deadline_s:
                client.cancel_batch(batch.batch_id, key=deployment.key)
                yield Finding(
                    "batch",
                    f"not begun within {_BATCH_S:.0f} s",
                    "Start a worker: python -m matteworks_jobs.worker, with the settings of jobs.",
                )
                return
            time.sleep(0.2)
        (item,) = client.items(batch.batch_id, key=deployment.key)
        if item.result is None:
            yield Finding("batch", f"{item.error_reason}: {item.error_message}", "Look at the worker's log.")
            return
        yield Finding("batch", f"one picture in {item.processing_s:.1f} s")
        with tempfile.TemporaryDirectory() as directory:
            path = client.download(item.result.result_id, Path(directory) / "result", key=deployment.key)
            content = path.read_bytes()
        yield _url_leads_here(item.result.url, content)
        client.delete_result(item.result.result_id, key=deployment.key)


def _client(deployment: Deployment) -> MatteworksClient:
    return MatteworksClient(deployment.target, timeout_s=_PATIENCE_S, tls_directory=deployment.tls_directory)


def _url_leads_here(url: str, content: bytes) -> Finding:
    host = urlsplit(url).netloc
    try:
        answer = httpx.get(url, timeout=_PATIENCE_S)
        if answer.status_code == httpx.codes.OK and answer.content == content:
            return Finding("result URLs", f"lead to {host}")
        told = f"{answer.status_code} from {host}"
    except httpx.HTTPError as error:
        told = f"{host} cannot be reached: {error or type(error).__name__}"
    return Finding("result URLs", told, "Set MATTEWORKS_JOBS_PUBLIC_URL to where callers reach the gateway.")


def photo_of(path: Path) -> bytes:
    """A photo unlike any that was sent before, so that its answer is nobody's repeat."""
    # Bytes after a JPEG's end are ignored.
    buffer = io.BytesIO(path.read_bytes())
    buffer.seek(0, io.SEEK_END)
    buffer.write(time.time_ns().to_bytes(8, "big"))
    return buffer.getvalue()
