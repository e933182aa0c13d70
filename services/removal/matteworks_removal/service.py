"""One paid removal, from typed request to encoded result: pictures, prices, reservation, rendering, charge.

Whoever serves removals uses this: the gateway for one call, a worker for the items of a batch. It knows
neither how the request came nor how the result is told.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from google.protobuf import duration_pb2

from matteworks.auth.v1 import auth_pb2, plan_pb2
from matteworks.common.v1 import image_pb2
from matteworks.compositor.v1 import compositor_pb2
from matteworks_common.context import new_request_id
from matteworks_common.errors import InvalidField
from matteworks_common.stages import Stages
from matteworks_imaging.box import Size as PixelSize
from matteworks_imaging.header import MAX_FILE_BYTES, WEB_FORMATS, ImageFormat
from matteworks_imaging.region import Length, Region, Unit, resolve_region
from matteworks_removal.clients import CompositorClient
from matteworks_removal.ledger import Ledger
from matteworks_removal.offers import Offer, Tariff
from matteworks_removal.preview import Preview
from matteworks_removal.sources import Picture, PictureFetcher, PictureSource, load_pictures

__all__ = ["Counting", "Output", "Progress", "Removal", "RemovalRequest", "RemovalService", "region_of"]

_IN_LOOP_BYTES = 256 * 1024
# Well below what a channel carries.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Counting:
    """How a removal counts beside its price: in which dialect, what it takes of the rate limit and of whose,
    and whether somebody waits for it.
    """

    dialect: str = ""
    rate_unit: plan_pb2.RateUnit.ValueType = plan_pb2.RATE_UNIT_MEGAPIXELS
    rate_scope: plan_pb2.RateScope.ValueType = plan_pb2.RATE_SCOPE_ACCOUNT
    urgency: auth_pb2.Urgency.ValueType = auth_pb2.URGENCY_INTERACTIVE


@dataclass(frozen=True, slots=True)
class Output:
    """One result of a matte. `takes_background`: the request's background picture lies behind it."""

    options: compositor_pb2.RenderOptions
    takes_background: bool = True


@dataclass(frozen=True, slots=True)
class RemovalRequest:
    """One picture and what to make of it: `options`, and further results of the same matte in `more`.

    `options` lacks the size limit and the background picture, which are known only later. `scope` is
    whatever else makes two results different to their caller, such as the API that was spoken: equal
    requests of one account in equal scopes within a few seconds are charged once. `max_file_bytes` is the
    API's own limit; where the caller's plan has a smaller one, that applies.
    """

    source: PictureSource
    background: PictureSource | None
    tariff: Tariff
    subject_type: image_pb2.SubjectType.ValueType
    options: compositor_pb2.RenderOptions = field(default_factory=compositor_pb2.RenderOptions)
    takes_background: bool = True
    more: tuple[Output, ...] = ()
    # UNSPECIFIED and empty: the server chooses.
    quality: image_pb2.Quality.ValueType = image_pb2.QUALITY_UNSPECIFIED
    model: str = ""
    scope: str = ""
    max_file_bytes: int = MAX_FILE_BYTES
    # File types that the caller's API reads; the compositor reads more.
    formats: frozenset[ImageFormat] = WEB_FORMATS
    counting: Counting = field(default_factory=Counting)


@dataclass(frozen=True, slots=True)
class Removal:
    """A result that has been paid for."""

    response: compositor_pb2.RemoveBackgroundResponse
    charged_credits_milli: int
    is_repeat: bool
    max_pixels: int
    # As they were asked for, with the limits that the price brought.
    options: compositor_pb2.RenderOptions


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a removal tells what its caller wants to know even if it fails later.

    `account_for` is told of fetched bytes before they are kept, and may refuse them. `on_charged` is told the
    thousandths of a credit that were charged, and the network that made the matte, empty where none did.
    """

    stages: Stages = field(default_factory=Stages)
    account_for: Callable[[int], None] = lambda _: None
    on_reserved: Callable[[auth_pb2.ReserveResponse], None] = lambda _: None
    on_charged: Callable[[int, str], None] = lambda *_: None


@dataclass(frozen=True, slots=True)
class _Order:
    """A removal with its pictures, ready to be paid and rendered."""

    reserve: auth_pb2.ReserveRequest
    offers: list[Offer]
    render: compositor_pb2.RemoveBackgroundRequest

    def limit_to(self, offer: Offer) -> None:
        """Every result is at most as large as what is paid."""
        for options in (self.render.options, *self.render.more_options):
            options.max_pixel_count = offer.max_pixels


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
        progress: Progress,
        *,
        request_id: str,
        charge_id: str = "",
        keep: Callable[[compositor_pb2.RemoveBackgroundResponse], Awaitable[None]] | None = None,
    ) -> Removal:
        """Get the pictures, check them, hold credits, render, keep, charge.

        `request_id` is for logs. The charge is idempotent on `charge_id`; without one every call is
        charged anew, which is right where the id would be the caller's own. `keep` stores the
        result before it is charged, and may refuse. Raises the MatteworksError of the first step that
        fails; then nothing is charged.
        """
        order = await self._prepare(caller, request, progress, request_id, charge_id)
        stages, offers, render = progress.stages, order.offers, order.render
        start = time.perf_counter()
        async with self._ledger.hold(order.reserve) as hold:
            stages.add("reserve", time.perf_counter() - start)
            progress.on_reserved(hold.reservation)
            offer = offers[hold.reservation.price_index]
            order.limit_to(offer)
            with stages.measure("render"):
                response = await self._compositor.remove_background(render)
            stages.extend("render.", response.stages)
            if keep is not None:
                with stages.measure("keep"):
                    await keep(response)
            with stages.measure("commit"):
                charged_milli = await hold.commit(time.perf_counter() - start)
        progress.on_charged(charged_milli, response.model)
        return Removal(response, charged_milli, hold.reservation.is_repeat, offer.max_pixels, render.options)

    async def preview(
        self,
        caller: auth_pb2.AuthenticateResponse,
        request: RemovalRequest,
        progress: Progress,
        *,
        request_id: str,
    ) -> Preview:
        """What `remove` would cost and give. Raises what it would raise before a pixel is decoded; nothing is
        held, charged or taken of the rate limit.
        """
        order = await self._prepare(caller, request, progress, request_id, "")
        order.reserve.dry_run = True
        seen = await self._ledger.look(order.reserve)
        progress.on_reserved(seen)
        offer = order.offers[seen.price_index]
        order.limit_to(offer)
        order.render.dry_run = True
        response = await self._compositor.remove_background(order.render)
        account = await self._ledger.account(caller.account_id)
        is_free = not seen.is_repeat and seen.credits_milli < offer.credits_milli
        return Preview(response, seen.credits_milli, is_free, seen.is_repeat, offer.max_pixels, account)

    async def _prepare(
        self,
        caller: auth_pb2.AuthenticateResponse,
        request: RemovalRequest,
        progress: Progress,
        request_id: str,
        charge_id: str,
    ) -> _Order:
        """Everything that is checked before credits are held."""
        stages = progress.stages
        with stages.measure("fetch"):
            picture, background = await load_pictures(
                request.source,
                request.background,
                self._fetcher,
                progress.account_for,
                min(request.max_file_bytes, caller.plan_details.max_file_bytes or request.max_file_bytes),
                request.formats,
            )
        if request.options.HasField("roi"):
            size = PixelSize(picture.header.width_px, picture.header.height_px)
            resolve_region(region_of(request.options.roi), size)
        offers = request.tariff.offers(picture.header, is_test=caller.is_test)
        reserve = auth_pb2.ReserveRequest(
            request_id=charge_id or new_request_id(),
            account_id=caller.account_id,
            key_id=caller.key_id,
            prices=[
                auth_pb2.Price(
                    credits_milli=offer.credits_milli, is_free_call_eligible=offer.is_free_call_eligible
                )
                for offer in offers
            ],
            megapixels=picture.header.megapixels,
            fingerprint=await _fingerprint(caller, request, picture, background),
            time_to_live=self._time_to_live,
            dialect=request.counting.dialect,
            rate_unit=request.counting.rate_unit,
            rate_scope=request.counting.rate_scope,
            urgency=request.counting.urgency,
        )
        render = _render_request(request_id, request, picture, background)
        _check_message_size(render)
        return _Order(reserve, offers, render)


def region_of(message: compositor_pb2.Region) -> Region:
    """A region of the wire, whose lengths have been checked."""

    def length(edge: compositor_pb2.Length) -> Length:
        if edge.WhichOneof("value") == "percent":
            return Length(edge.percent, Unit.PERCENT)
        return Length(edge.px, Unit.PX)

    return Region(*map(length, (message.left, message.top, message.right, message.bottom)))


def _render_request(
    request_id: str, request: RemovalRequest, picture: Picture, background: Picture | None
) -> compositor_pb2.RemoveBackgroundRequest:
    render = compositor_pb2.RemoveBackgroundRequest(
        request_id=request_id,
        image=picture.content,
        options=request.options,
        subject_type=request.subject_type,
        quality=request.quality,
        model=request.model,
    )
    render.more_options.extend(output.options for output in request.more)
    if background is not None:
        takers = (request.takes_background, *(output.takes_background for output in request.more))
        for options, takes in zip((render.options, *render.more_options), takers, strict=True):
            if takes:
                options.bg_image = background.content
    return render


def _check_message_size(render: compositor_pb2.RemoveBackgroundRequest) -> None:
    """Raises InvalidField when pictures behind several results do not fit into one message."""
    behind = [len(options.bg_image) for options in render.more_options]
    if sum(behind) and len(render.image) + len(render.options.bg_image) + sum(behind) > _MAX_MESSAGE_BYTES:
        raise InvalidField(
            "bg_image_file",
            "The background picture goes into every output; together that is above "
            f"{_MAX_MESSAGE_BYTES >> 20} MB. Send a smaller one, or fewer outputs with it.",
        )


async def _fingerprint(
    caller: auth_pb2.AuthenticateResponse,
    request: RemovalRequest,
    picture: Picture,
    background: Picture | None,
) -> str:
    """Equal for requests that would give the same caller the same result."""
    head = repr(
        (
            request.scope,
            caller.account_id,
            caller.is_test,
            request.tariff.size,
            request.subject_type,
            request.quality,
            request.model,
        )
    ).encode()
    options = [
        repr(output.takes_background).encode() + output.options.SerializeToString(deterministic=True)
        for output in (Output(request.options, request.takes_background), *request.more)
    ]
    parts = [head, *options, picture.content, background.content if background else b""]

    def digest() -> str:
        state = hashlib.sha256()
        for part in parts:
            state.update(len(part).to_bytes(8, "big"))
            state.update(part)
        return state.hexdigest()

    if sum(map(len, parts)) > _IN_LOOP_BYTES:
        return await asyncio.to_thread(digest)
    return digest()
