"""One removal from typed request to encoded result: prices, reservation, rendering, charge."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf import duration_pb2

from matteworks.auth.v1 import auth_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.context import new_request_id
from matteworks_edge.dialects.base import Dialect
from matteworks_edge.exchange import Exchange
from matteworks_edge.fields.form import RemovalRequest
from matteworks_edge.fields.parameters import check_roi
from matteworks_removal.clients import CompositorClient
from matteworks_removal.ledger import Ledger
from matteworks_removal.sources import Picture, PictureFetcher, load_pictures

_IN_LOOP_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Removal:
    """A result that has been paid for."""

    response: compositor_pb2.RemoveBackgroundResponse
    charged_credits_milli: int
    is_repeat: bool
    max_pixels: int


class RemovalService:
    """Serves one removal at a time; holds no state between two."""

    def __init__(
        self,
        ledger: Ledger,
        compositor: CompositorClient,
        fetcher: PictureFetcher,
        *,
        reservation_s: float,
    ) -> None:
        self._ledger = ledger
        self._compositor = compositor
        self._fetcher = fetcher
        self._time_to_live = duration_pb2.Duration()
        self._time_to_live.FromNanoseconds(round(reservation_s * 1e9))

    async def remove(
        self,
        caller: auth_pb2.AuthenticateResponse,
        request: RemovalRequest,
        exchange: Exchange,
        account_for: Callable[[int], None],
    ) -> Removal:
        """Get the pictures, check them, hold credits, render, charge.

        Raises the MatteworksError of the first step that fails; then nothing is charged.
        """
        stages = exchange.stages
        with stages.measure("fetch"):
            picture, background = await load_pictures(
                request.source, request.background, self._fetcher, account_for
            )
        if request.options.HasField("roi"):
            check_roi(request.options.roi, picture.header.width_px, picture.header.height_px)
        offers = exchange.dialect.offers(request.size, picture.header, is_test=caller.is_test)
        reserve = auth_pb2.ReserveRequest(
            # Never the caller's own id: the charge is idempotent on this one.
            request_id=new_request_id(),
            account_id=caller.account_id,
            key_id=caller.key_id,
            prices=[
                auth_pb2.Price(
                    credits_milli=offer.credits_milli, is_free_call_eligible=offer.is_free_call_eligible
                )
                for offer in offers
            ],
            megapixels=picture.header.megapixels,
            fingerprint=await _fingerprint(exchange.dialect, caller, request, picture, background),
            time_to_live=self._time_to_live,
        )
        render = _render_request(exchange.request_id, request, picture, background)
        start = time.perf_counter()
        async with self._ledger.hold(reserve) as hold:
            stages.add("reserve", time.perf_counter() - start)
            exchange.rate_limit = hold.reservation.rate_limit
            exchange.reservation_id = hold.reservation.reservation_id
            offer = offers[hold.reservation.price_index]
            render.options.max_pixel_count = offer.max_pixels
            with stages.measure("render"):
                response = await self._compositor.remove_background(render)
            stages.extend("render.", response.stages)
            with stages.measure("commit"):
                charged_milli = await hold.commit()
        return Removal(response, charged_milli, hold.reservation.is_repeat, offer.max_pixels)


def _render_request(
    request_id: str, request: RemovalRequest, picture: Picture, background: Picture | None
) -> compositor_pb2.RemoveBackgroundRequest:
    render = compositor_pb2.RemoveBackgroundRequest(
        request_id=request_id,
        image=picture.content,
        options=request.options,
        subject_type=request.subject_type,
    )
    if background is not None:
        render.options.bg_image = background.content
    return render


async def _fingerprint(
    dialect: Dialect,
    caller: auth_pb2.AuthenticateResponse,
    request: RemovalRequest,
    picture: Picture,
    background: Picture | None,
) -> str:
    """Equal for requests that would give the same caller the same result."""
    head = repr(
        (
            dialect.name,
            caller.account_id,
            caller.is_test,
            request.size,
            request.subject_type,
            request.type_level,
        )
    ).encode()
    options = request.options.SerializeToString(deterministic=True)
    parts = [head, options, picture.content, background.content if background else b""]

    def digest() -> str:
        state = hashlib.sha256()
        for part in parts:
            state.update(len(part).to_bytes(8, "big"))
            state.update(part)
        return state.hexdigest()

    if sum(map(len, parts)) > _IN_LOOP_BYTES:
        return await asyncio.to_thread(digest)
    return digest()
