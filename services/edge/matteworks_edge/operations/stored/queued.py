"""Removals that go through the queue: batches, and single ones whose result comes by webhook."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from matteworks.auth.v1 import auth_pb2
from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.jobs.v1 import jobs_pb2, removal_pb2
from matteworks_common.context import current_call
from matteworks_common.errors import DeadlineExceeded, FailedPrecondition
from matteworks_edge.jobs_client import JobsClient, caller_for, duration
from matteworks_edge.operations.stored.cutout import StoredCutout, cutout_of, error_of
from matteworks_removal.clients import AuthClient
from matteworks_removal.offers import Size
from matteworks_removal.service import RemovalRequest
from matteworks_removal.sources import RemotePicture, SentPicture

_LOOK_AGAIN_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class QueuedRemovals:
    """What is accepted here ends some time, whoever is away meanwhile."""

    jobs: JobsClient
    auth: AuthClient

    async def accept(
        self,
        caller: auth_pb2.AuthenticateResponse,
        request: RemovalRequest,
        webhook_url: str,
        *,
        max_retention_s: float = 0,
        url_lifetime_s: float = 0,
    ) -> removal_pb2.Item:
        """One picture; its end is told to `webhook_url`. The result's URL works for `url_lifetime_s`, or,
        when that is 0, as long as the result is kept.

        Raises InvalidField (INVALID_WEBHOOK_URL), FailedPrecondition (INSUFFICIENT_CREDITS).
        """
        await self._check_credits(caller, [request])
        answer = await self.jobs.create_removal(
            jobs_pb2.CreateRemovalRequest(
                caller=caller_for(caller, request.counting.dialect, max_retention_s),
                removal=spec_of(request),
                webhook_url=webhook_url,
                url_lifetime=duration(url_lifetime_s),
            )
        )
        return answer.item

    async def finish(
        self,
        caller: auth_pb2.AuthenticateResponse,
        request: RemovalRequest,
        webhook_url: str,
        *,
        max_retention_s: float = 0,
        url_lifetime_s: float = 0,
    ) -> StoredCutout:
        """As `accept`, and waits for the end. Raises the error with which the picture ended;
        DeadlineExceeded when it takes longer than the request has: then it ends later, and the webhook
        tells it.
        """
        item = await self.accept(
            caller, request, webhook_url, max_retention_s=max_retention_s, url_lifetime_s=url_lifetime_s
        )
        context = current_call.get()
        while item.state == removal_pb2.ITEM_STATE_PENDING:
            remaining_s = context.remaining_s() if context else None
            if remaining_s is not None and remaining_s < _LOOK_AGAIN_S * 2:
                raise DeadlineExceeded()
            await asyncio.sleep(_LOOK_AGAIN_S)
            item = await self.jobs.get_item(caller.account_id, item.item_id)
        if item.state != removal_pb2.ITEM_STATE_SUCCEEDED:
            raise error_of(item)
        return cutout_of(item)

    async def accept_batch(
        self,
        caller: auth_pb2.AuthenticateResponse,
        requests: Sequence[RemovalRequest],
        webhook_url: str,
        max_count: int,
    ) -> jobs_pb2.CreateBatchResponse:
        """A batch, all of it or nothing. Raises InvalidField (INVALID_BATCH_SIZE, INVALID_WEBHOOK_URL),
        FailedPrecondition (INSUFFICIENT_CREDITS) when the account cannot pay for all of it.
        """
        await self._check_credits(caller, requests)
        header = jobs_pb2.BatchHeader(
            caller=caller_for(caller, requests[0].counting.dialect),
            max_item_count=max_count,
            webhook_url=webhook_url,
        )
        return await self.jobs.create_batch(header, map(spec_of, requests))

    async def _check_credits(
        self, caller: auth_pb2.AuthenticateResponse, requests: Sequence[RemovalRequest]
    ) -> None:
        """Each picture is charged when it ends; what could not be paid even now is refused at the door."""
        if caller.is_test:
            return
        account = (await self.auth.get_account(caller.account_id)).account
        prices = [request.tariff.size for request in requests]
        free_count = min(account.free_call_count, sum(price.is_free_call_eligible for price in prices))
        needed_milli = sum(sorted(price.credits_milli for price in prices)[: len(prices) - free_count])
        left_milli = (
            account.subscription_credits_milli + account.payg_credits_milli + account.enterprise_credits_milli
        )
        if needed_milli > left_milli:
            raise FailedPrecondition(
                reasons.ERROR_REASON_INSUFFICIENT_CREDITS,
                f"These pictures cost {needed_milli / 1000:g} credits and the account has "
                f"{left_milli / 1000:g}. Buy credits or send fewer pictures.",
            )


def spec_of(request: RemovalRequest) -> removal_pb2.RemovalSpec:
    """A removal as the queue takes it."""
    spec = removal_pb2.RemovalSpec(
        options=request.options,
        subject_type=request.subject_type,
        quality=request.quality,
        model=request.model,
        size=_priced(request.tariff.size),
        preview=_priced(request.tariff.preview),
        max_file_bytes=request.max_file_bytes,
    )
    match request.source:
        case SentPicture(content=content):
            spec.image = content
        case RemotePicture(url=url):
            spec.image_url = str(url)
    match request.background:
        case SentPicture(content=content):
            spec.bg_image = content
        case RemotePicture(url=url):
            spec.bg_image_url = str(url)
    return spec


def _priced(size: Size) -> removal_pb2.PricedSize:
    return removal_pb2.PricedSize(
        credits_milli=size.credits_milli,
        max_pixel_count=size.max_pixels,
        max_side_px=size.max_side_px,
        is_free_call_eligible=size.is_free_call_eligible,
        falls_back=size.falls_back,
    )
