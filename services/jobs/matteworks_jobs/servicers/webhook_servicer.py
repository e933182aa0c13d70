"""WebhookService: endpoints, secrets and deliveries."""

from __future__ import annotations

import base64
import secrets
from typing import Any, Final

from matteworks.common.v1 import error_reason_pb2 as reasons
from matteworks.jobs.v1 import webhooks_pb2, webhooks_pb2_grpc
from matteworks_common.clock import Clock
from matteworks_common.errors import FailedPrecondition, InvalidField, NotFound
from matteworks_jobs.items_view import timestamp
from matteworks_jobs.servicers.wire import checked_account, checked_count, checked_webhook_url, new_id
from matteworks_jobs.stores.records import Delivery, Endpoint, Event
from matteworks_jobs.stores.webhooks import MAX_ENDPOINTS, WebhookStore
from matteworks_jobs.webhooks.payloads import low_credits_text
from matteworks_outbound.addresses import AddressJudge

_EVENTS: Final[dict[int, Event]] = {
    webhooks_pb2.WEBHOOK_EVENT_IMAGE_COMPLETED: "image.completed",
    webhooks_pb2.WEBHOOK_EVENT_IMAGE_FAILED: "image.failed",
    webhooks_pb2.WEBHOOK_EVENT_BATCH_COMPLETED: "batch.completed",
    webhooks_pb2.WEBHOOK_EVENT_CREDITS_LOW: "credits.low",
}
_NUMBERS: Final[dict[Event, Any]] = {event: number for number, event in _EVENTS.items()}
_STATES: Final = {
    "pending": webhooks_pb2.DELIVERY_STATE_PENDING,
    "delivered": webhooks_pb2.DELIVERY_STATE_DELIVERED,
    "failed": webhooks_pb2.DELIVERY_STATE_FAILED,
}


def new_secret() -> str:
    """32 random bytes, as Standard Webhooks writes them."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class WebhookServicer(webhooks_pb2_grpc.WebhookServiceServicer):
    """Proto in, store, proto out."""

    def __init__(self, store: WebhookStore, judge: AddressJudge, clock: Clock) -> None:
        self._store = store
        self._judge = judge
        self._clock = clock

    async def CreateWebhookEndpoint(
        self, request: webhooks_pb2.CreateWebhookEndpointRequest, context: Any
    ) -> webhooks_pb2.CreateWebhookEndpointResponse:
        account_id = checked_account(request.account_id)
        if not request.url:
            raise InvalidField(
                "url", "Give the URL to tell.", reason=reasons.ERROR_REASON_INVALID_WEBHOOK_URL
            )
        url = checked_webhook_url(request.url, "url", self._judge)
        if not request.events or any(event not in _EVENTS for event in request.events):
            raise InvalidField("events", f"Name one or more of {', '.join(_NUMBERS)}.")
        events = tuple(dict.fromkeys(_EVENTS[event] for event in request.events))
        endpoint = Endpoint(new_id("we"), url, events, round(self._clock.unix_s() * 1e6), is_disabled=False)
        secret = new_secret()
        if not await self._store.add_endpoint(account_id, endpoint, secret):
            raise FailedPrecondition(
                reasons.ERROR_REASON_TOO_MANY_WEBHOOK_ENDPOINTS,
                f"An account has at most {MAX_ENDPOINTS} webhook endpoints; delete one first.",
                metadata={"max_endpoints": str(MAX_ENDPOINTS)},
            )
        return webhooks_pb2.CreateWebhookEndpointResponse(endpoint=_endpoint(endpoint), secret=secret)

    async def ListWebhookEndpoints(
        self, request: webhooks_pb2.ListWebhookEndpointsRequest, context: Any
    ) -> webhooks_pb2.ListWebhookEndpointsResponse:
        endpoints = await self._store.endpoints(checked_account(request.account_id))
        return webhooks_pb2.ListWebhookEndpointsResponse(endpoints=map(_endpoint, endpoints))

    async def RotateWebhookSecret(
        self, request: webhooks_pb2.RotateWebhookSecretRequest, context: Any
    ) -> webhooks_pb2.RotateWebhookSecretResponse:
        secret = new_secret()
        account_id = checked_account(request.account_id)
        if not await self._store.rotate_secret(account_id, request.endpoint_id, secret):
            raise _endpoint_not_found()
        return webhooks_pb2.RotateWebhookSecretResponse(secret=secret)

    async def GetRequestSecret(
        self, request: webhooks_pb2.GetRequestSecretRequest, context: Any
    ) -> webhooks_pb2.GetRequestSecretResponse:
        secret = await self._store.request_secret(checked_account(request.account_id), new_secret())
        return webhooks_pb2.GetRequestSecretResponse(secret=secret)

    async def DeleteWebhookEndpoint(
        self, request: webhooks_pb2.DeleteWebhookEndpointRequest, context: Any
    ) -> webhooks_pb2.DeleteWebhookEndpointResponse:
        if not await self._store.remove_endpoint(checked_account(request.account_id), request.endpoint_id):
            raise _endpoint_not_found()
        return webhooks_pb2.DeleteWebhookEndpointResponse()

    async def ListWebhookDeliveries(
        self, request: webhooks_pb2.ListWebhookDeliveriesRequest, context: Any
    ) -> webhooks_pb2.ListWebhookDeliveriesResponse:
        count = checked_count("page_size", request.page_size, 100, 1000)
        deliveries = await self._store.deliveries(checked_account(request.account_id), count)
        return webhooks_pb2.ListWebhookDeliveriesResponse(deliveries=map(_delivery, deliveries))

    async def ResendWebhookDelivery(
        self, request: webhooks_pb2.ResendWebhookDeliveryRequest, context: Any
    ) -> webhooks_pb2.ResendWebhookDeliveryResponse:
        account_id = checked_account(request.account_id)
        delivery = None
        if await self._store.resend(account_id, request.delivery_id):
            delivery = await self._store.delivery(account_id, request.delivery_id)
        if delivery is None:
            raise NotFound(
                reasons.ERROR_REASON_WEBHOOK_DELIVERY_NOT_FOUND,
                "There is no such delivery.",
                field="delivery_id",
            )
        return webhooks_pb2.ResendWebhookDeliveryResponse(delivery=_delivery(delivery))

    async def ReportLowCredits(
        self, request: webhooks_pb2.ReportLowCreditsRequest, context: Any
    ) -> webhooks_pb2.ReportLowCreditsResponse:
        account_id = checked_account(request.account_id)
        now_us = round(self._clock.unix_s() * 1e6)
        text = low_credits_text(now_us, request.available_credits_milli)
        await self._store.announce_low(account_id, request.granted_credits_milli, text)
        return webhooks_pb2.ReportLowCreditsResponse()


def _endpoint_not_found() -> NotFound:
    return NotFound(
        reasons.ERROR_REASON_WEBHOOK_ENDPOINT_NOT_FOUND, "There is no such endpoint.", field="endpoint_id"
    )


def _endpoint(endpoint: Endpoint) -> webhooks_pb2.WebhookEndpoint:
    return webhooks_pb2.WebhookEndpoint(
        endpoint_id=endpoint.endpoint_id,
        url=endpoint.url,
        events=[_NUMBERS[event] for event in endpoint.events],
        create_time=timestamp(endpoint.created_us),
        is_disabled=endpoint.is_disabled,
    )


def _delivery(delivery: Delivery) -> webhooks_pb2.WebhookDelivery:
    message = webhooks_pb2.WebhookDelivery(
        delivery_id=delivery.delivery_id,
        endpoint_id=delivery.endpoint_id,
        url=delivery.url,
        event=_NUMBERS[delivery.event],
        subject_id=delivery.subject,
        state=_STATES[delivery.state],
        attempt_count=delivery.attempts,
        last_status=delivery.status,
        create_time=timestamp(delivery.created_us),
    )
    if delivery.next_us:
        message.next_attempt_time.CopyFrom(timestamp(delivery.next_us))
    return message
