"""One paid edit of a picture, such as a crop: pictures, price, reservation, work, charge."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from google.protobuf import duration_pb2

from matteworks.auth.v1 import auth_pb2
from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks_common.context import new_request_id
from matteworks_imaging.header import MAX_FILE_BYTES, WEB_FORMATS, ImageFormat
from matteworks_removal.clients import EditClient
from matteworks_removal.ledger import Ledger
from matteworks_removal.service import Counting, Progress
from matteworks_removal.sources import Picture, PictureFetcher, PictureSource, load_picture

T = TypeVar("T")

__all__ = ["Edit", "EditOrder", "EditedPicture", "PaidEdits"]


@dataclass(frozen=True, slots=True)
class EditedPicture:
    """What a tool made; `others` are further pictures, such as a mask, by name. Where each subject comes
    alone it is that of `number`, and `more` are the rest. `model` is the network that drew it; empty for
    what needs none.
    """

    content: bytes
    format: compositor_pb2.OutputFormat.ValueType
    width_px: int
    height_px: int
    others: Mapping[str, bytes] = field(default_factory=dict)
    number: int = 0
    more: Sequence[EditedPicture] = ()
    model: str = ""

    @classmethod
    def from_proto(cls, picture: edit_pb2.EditedPicture) -> EditedPicture:
        """One picture."""
        return cls(picture.image, picture.format, picture.size.width_px, picture.size.height_px)


@dataclass(frozen=True, slots=True)
class EditOrder(Generic[T]):
    """A picture and what to do with it: edit it, or say something of it.

    `others` are further pictures that the tool needs, by the names that `perform` knows. `parameters` is
    whatever else makes two results different: equal orders of one account within a few seconds are charged
    once. `price` is in thousandths of a credit.
    """

    source: PictureSource
    perform: Callable[[EditClient, bytes, Mapping[str, bytes]], Awaitable[T]]
    price: auth_pb2.Price
    parameters: bytes
    counting: Counting
    others: Mapping[str, PictureSource] = field(default_factory=dict)
    max_file_bytes: int = MAX_FILE_BYTES
    formats: frozenset[ImageFormat] = WEB_FORMATS


@dataclass(frozen=True, slots=True)
class Edit(Generic[T]):
    """A result that has been paid for."""

    result: T
    source_width_px: int
    source_height_px: int
    charged_credits_milli: int
    is_repeat: bool


class PaidEdits:
    """Serves one edit at a time; holds no state between two."""

    def __init__(
        self, ledger: Ledger, editor: EditClient, fetcher: PictureFetcher, *, reservation_s: float
    ) -> None:
        self._ledger = ledger
        self._editor = editor
        self._fetcher = fetcher
        self._time_to_live = duration_pb2.Duration()
        self._time_to_live.FromNanoseconds(round(reservation_s * 1e9))

    async def edit(
        self,
        caller: auth_pb2.AuthenticateResponse,
        order: EditOrder[T],
        progress: Progress,
        keep: Callable[[T], Awaitable[None]] | None = None,
    ) -> Edit[T]:
        """Get the pictures, check them, hold credits, edit, keep, charge.

        `keep` stores the result before it is charged, and may refuse. Raises the MatteworksError of the
        first step that fails; then nothing is charged.
        """
        stages = progress.stages
        with stages.measure("fetch"):
            picture, others = await self._load(caller, order, progress)
        price = auth_pb2.Price(credits_milli=0) if caller.is_test else order.price
        reserve = auth_pb2.ReserveRequest(
            request_id=new_request_id(),
            account_id=caller.account_id,
            key_id=caller.key_id,
            prices=[price],
            megapixels=picture.header.megapixels,
            fingerprint=await asyncio.to_thread(_fingerprint, caller, order, picture, others),
            time_to_live=self._time_to_live,
            dialect=order.counting.dialect,
            rate_unit=order.counting.rate_unit,
            rate_scope=order.counting.rate_scope,
            urgency=order.counting.urgency,
        )
        start = time.perf_counter()
        async with self._ledger.hold(reserve) as hold:
            stages.add("reserve", time.perf_counter() - start)
            progress.on_reserved(hold.reservation)
            with stages.measure("render"):
                contents = {name: other.content for name, other in others.items()}
                edited = await order.perform(self._editor, picture.content, contents)
            if keep is not None:
                with stages.measure("keep"):
                    await keep(edited)
            with stages.measure("commit"):
                charged_milli = await hold.commit(time.perf_counter() - start)
        progress.on_charged(charged_milli, "")
        header = picture.header
        return Edit(edited, header.width_px, header.height_px, charged_milli, hold.reservation.is_repeat)

    async def _load(
        self, caller: auth_pb2.AuthenticateResponse, order: EditOrder[T], progress: Progress
    ) -> tuple[Picture, dict[str, Picture]]:
        most = min(order.max_file_bytes, caller.plan_details.max_file_bytes or order.max_file_bytes)

        async def load(source: PictureSource) -> Picture:
            return await load_picture(source, self._fetcher, progress.account_for, most, order.formats)

        picture = await load(order.source)
        return picture, {name: await load(source) for name, source in order.others.items()}


def _fingerprint(
    caller: auth_pb2.AuthenticateResponse,
    order: EditOrder[T],
    picture: Picture,
    others: Mapping[str, Picture],
) -> str:
    """Equal for orders that would give the same caller the same result."""
    head = repr((caller.account_id, caller.is_test, order.counting.dialect)).encode()
    state = hashlib.sha256()
    for part in (head, order.parameters, picture.content, *(others[name].content for name in sorted(others))):
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.hexdigest()
