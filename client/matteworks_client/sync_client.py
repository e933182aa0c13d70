"""The client for ordinary programs."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

import grpc

import matteworks_client.requests as requests
import matteworks_client.results as results
from matteworks.auth.v1 import auth_pb2, auth_pb2_grpc
from matteworks.compositor.v1 import compositor_pb2_grpc
from matteworks.inference.v1 import inference_pb2, inference_pb2_grpc
from matteworks_client.choices import Picture, QualityName, RenderChoices, SubjectName
from matteworks_client.edits.sync_edits import SyncEdits
from matteworks_client.retrying import RetryPolicy
from matteworks_client.sync_jobs import SyncJobs
from matteworks_common.channels import open_blocking_channel
from matteworks_common.errors import MatteworksError, from_rpc_error
from matteworks_common.settings import MEBIBYTE
from matteworks_common.tls import identity_in

MAX_MESSAGE_BYTES = 96 * MEBIBYTE
DEFAULT_TIMEOUT_S = 60.0

Request = TypeVar("Request")
Response = TypeVar("Response")


class MatteworksClient(SyncJobs, SyncEdits):
    """Calls the services through the internal listener at `target` (host:port). Safe for many threads.

    Every method takes at most `timeout_s` (the call's, else the client's), attempts included, and raises
    the service's own MatteworksError; ValueError for an argument that cannot be meant. `tls_directory` holds
    `tls.crt`, `tls.key` and `ca.crt` where the listener wants mutual TLS.

        with MatteworksClient("127.0.0.1:8081") as client:
            cutout = client.remove_background(Path("photo.jpg"), format="webp", crop=True)
    """

    def __init__(
        self,
        target: str,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: RetryPolicy | None = None,
        tls_directory: Path | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._retries = retries or RetryPolicy()
        self._channel = open_blocking_channel(target, MAX_MESSAGE_BYTES, identity_in(tls_directory))
        self._open_jobs(self._channel)
        self._open_edits(self._channel)
        self._auth = auth_pb2_grpc.AuthServiceStub(self._channel)
        self._compositor = compositor_pb2_grpc.CompositorServiceStub(self._channel)
        self._inference = inference_pb2_grpc.InferenceServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight end with an error."""
        self._channel.close()

    def remove_background(
        self,
        picture: Picture,
        *,
        model: str = "",
        subject: SubjectName | None = None,
        quality: QualityName | None = None,
        timeout_s: float | None = None,
        **choices: Unpack[RenderChoices],
    ) -> results.Cutout:
        """The subject of a picture file, cut out and composed as chosen."""
        request = requests.removal(picture, model, subject, quality, choices)
        return results.cutout_of(self._call(self._compositor.RemoveBackground, request, timeout_s))

    def cut_outs(
        self,
        picture: Picture,
        outputs: Sequence[RenderChoices],
        *,
        model: str = "",
        subject: SubjectName | None = None,
        quality: QualityName | None = None,
        timeout_s: float | None = None,
    ) -> list[results.Cutout]:
        """Up to 8 results of one matte, in the order of `outputs`, whose `roi` is the same: a thumbnail, a
        white JPEG, the bare matte. The network runs once.
        """
        if not outputs:
            raise ValueError("give the choices of at least one output")
        request = requests.removal(picture, model, subject, quality, outputs[0], outputs[1:])
        return results.cutouts_of(self._call(self._compositor.RemoveBackground, request, timeout_s))

    def estimate(
        self,
        picture: Picture,
        *,
        key: str,
        price_milli: int = 1000,
        model: str = "",
        subject: SubjectName | None = None,
        quality: QualityName | None = None,
        timeout_s: float | None = None,
        **choices: Unpack[RenderChoices],
    ) -> results.Estimate:
        """What a removal would give, and what it would cost the account of `key` as a picture of a batch:
        `price_milli` thousandths of a credit.

        Everything is checked, with the errors of the removal itself; no network runs, and nothing is held,
        charged or counted.
        """
        owner = self._call(self._auth.Authenticate, auth_pb2.AuthenticateRequest(api_key=key), timeout_s)
        request = requests.removal(picture, model, subject, quality, choices)
        request.dry_run = True
        seen = self._call(self._compositor.RemoveBackground, request, timeout_s)
        price = requests.look_at_price(owner, price_milli, seen)
        reserved = self._call(self._auth.Reserve, price, timeout_s)
        account = self.account(owner.account_id, timeout_s=timeout_s)
        return results.estimate_of(seen, price.prices[0].credits_milli, reserved, account)

    def compose(
        self,
        picture: Picture,
        matte: results.Matte | Picture,
        *,
        subject: SubjectName | None = None,
        timeout_s: float | None = None,
        **choices: Unpack[RenderChoices],
    ) -> results.Cutout:
        """A picture composed with a matte that the caller has; no network runs."""
        request = requests.composition(picture, matte, subject, choices)
        return results.composition_of(self._call(self._compositor.Compose, request, timeout_s))

    def segment(
        self,
        picture: Picture,
        *,
        model: str = "",
        subject: SubjectName | None = None,
        quality: QualityName | None = None,
        timeout_s: float | None = None,
    ) -> results.Matte:
        """The matte of a file at the model's own resolution."""
        request = requests.segmentation(picture, model, subject, quality)
        return results.matte_of(self._call(self._inference.Segment, request, timeout_s))

    def segment_pixels(
        self,
        rgb: bytes,
        size: results.Size,
        *,
        model: str = "",
        subject: SubjectName | None = None,
        quality: QualityName | None = None,
        timeout_s: float | None = None,
    ) -> results.Matte:
        """The matte of decoded pixels, three bytes each, at most 4096 a side."""
        request = requests.pixel_segmentation(rgb, size, model, subject, quality)
        return results.matte_of(self._call(self._inference.Segment, request, timeout_s))

    def inspect(self, picture: Picture, *, timeout_s: float | None = None) -> results.Facts:
        """Type, size and orientation from a file's header."""
        request = requests.inspection(picture)
        return results.facts_of(self._call(self._compositor.Inspect, request, timeout_s))

    def list_models(self, *, timeout_s: float | None = None) -> list[results.Model]:
        """Every model of the registry, the default first."""
        request = inference_pb2.ListModelsRequest()
        return results.models_of(self._call(self._inference.ListModels, request, timeout_s))

    def account(self, account_id: str, *, timeout_s: float | None = None) -> results.Account:
        """Balances and limits of an account."""
        request = auth_pb2.GetAccountRequest(account_id=account_id)
        return results.account_of(self._call(self._auth.GetAccount, request, timeout_s))

    def account_of_key(self, api_key: str, *, timeout_s: float | None = None) -> results.Account:
        """Balances and limits of the account that a key belongs to."""
        request = auth_pb2.AuthenticateRequest(api_key=api_key)
        owner = self._call(self._auth.Authenticate, request, timeout_s)
        return self.account(owner.account_id, timeout_s=timeout_s)

    def _call(
        self,
        method: grpc.UnaryUnaryMultiCallable[Request, Response],
        request: Request,
        timeout_s: float | None,
    ) -> Response:
        deadline_s = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        attempt = 0
        while True:
            attempt += 1
            try:
                return method(request, timeout=max(0.0, deadline_s - time.monotonic()))
            except grpc.RpcError as failure:
                error = _error_of(failure)
                remaining_s = deadline_s - time.monotonic()
                pause_s = self._retries.pause_s(error, attempt, remaining_s, random.random)
                if pause_s is None:
                    raise error from failure
            time.sleep(pause_s)


def _error_of(failure: grpc.RpcError) -> MatteworksError:
    # Both kinds of failed calls offer the code and the trailing metadata that are read here.
    return from_rpc_error(cast(Any, failure))
