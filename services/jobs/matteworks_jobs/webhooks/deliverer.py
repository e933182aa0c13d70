"""Delivers what is due: leased, signed, sent, and put down again with what came of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

import structlog
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from standardwebhooks import Webhook

from matteworks_common.clock import Clock
from matteworks_common.tracing import link_to, span
from matteworks_jobs.metrics import JobsMetrics
from matteworks_jobs.stores.records import Delivery
from matteworks_jobs.stores.webhooks import WebhookStore
from matteworks_jobs.webhooks.payloads import Payloads
from matteworks_jobs.webhooks.schedule import SLOW_DOWN, delay_after, parse_retry_after
from matteworks_jobs.webhooks.sender import Answer, WebhookSender

# Posts at once, and of them for one account: its receivers may be slow without delaying anybody else's.
MOST: Final = 32
MOST_OF_ACCOUNT: Final = 8
# What falls due while slow receivers take their time is seen this much later.
_LOOK_AGAIN_S: Final = 1.0
_GONE: Final = 410
log = structlog.get_logger()


class Deliverer:
    """Each replica delivers; a lease keeps two from sending the same at once. `new_secret` makes the secret
    for URLs of requests when an account has none; `chance` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        store: WebhookStore,
        payloads: Payloads,
        sender: WebhookSender,
        clock: Clock,
        metrics: JobsMetrics,
        new_secret: Callable[[], str],
        chance: Callable[[], float],
        *,
        lease_s: float,
    ) -> None:
        self._store = store
        self._payloads = payloads
        self._sender = sender
        self._clock = clock
        self._metrics = metrics
        self._new_secret = new_secret
        self._chance = chance
        self._lease_us = round(lease_s * 1e6)

    async def deliver_due(self) -> int:
        """Try everything that is due once; how many. Raises Unavailable when the store is away: what was
        leased comes again when its lease ends.
        """
        count = 0
        under_way: dict[asyncio.Task[None], str] = {}
        try:
            while True:
                for delivery in await self._leased(under_way):
                    under_way[asyncio.create_task(self._try(delivery))] = delivery.account_id
                    count += 1
                if not under_way:
                    return count
                done, _ = await asyncio.wait(
                    under_way, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    del under_way[task]
                    task.result()
        except asyncio.CancelledError:
            for task in under_way:
                task.cancel()
            raise
        finally:
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _leased(self, under_way: Mapping[asyncio.Task[None], str]) -> list[Delivery]:
        if len(under_way) >= MOST:
            return []
        had = Counter(under_way.values())
        return await self._store.lease(MOST - len(under_way), self._lease_us, MOST_OF_ACCOUNT, had)

    async def _try(self, delivery: Delivery) -> None:
        secrets = await self._secrets(delivery)
        body = delivery.body or await self._payloads.write(delivery)
        if not secrets or body is None:
            # The endpoint, or what there was to tell, is gone.
            await self._end(delivery, "gone")
            return
        if not delivery.body:
            body = await self._store.fix_body(delivery, body)
        now = datetime.fromtimestamp(int(self._clock.unix_s()), UTC)
        signatures = [Webhook(secret).sign(delivery.delivery_id, now, body) for secret in secrets]
        headers = {
            "webhook-id": delivery.delivery_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        # A trace of its own, tied to that of the request that it tells of.
        with (
            self._metrics.delivery_seconds.time(),
            span(
                "webhook",
                kind=SpanKind.CLIENT,
                context=Context(),
                links=link_to(delivery.traceparent),
                attributes={"matteworks.event": delivery.event, "matteworks.attempt": delivery.attempts + 1},
            ) as current,
        ):
            answer = await self._sender.post(delivery.url, headers, body.encode())
            current.set_attribute("http.response.status_code", answer.status)
        await self._judge(delivery, answer)

    async def _judge(self, delivery: Delivery, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            self._metrics.deliveries.labels("delivered").inc()
            await self._store.end_attempt(
                delivery.account_id, delivery.delivery_id, "delivered", status=answer.status
            )
            return
        if answer.status == _GONE:
            await self._end(delivery, "gone", answer.status, disables_endpoint=True)
            return
        now_s = self._clock.unix_s()
        delay_s = delay_after(
            delivery.attempts + 1,
            parse_retry_after(answer.retry_after, now_s),
            self._chance(),
            is_slowed=answer.status in SLOW_DOWN,
        )
        if delay_s is None:
            await self._end(delivery, "given_up", answer.status)
            return
        self._metrics.deliveries.labels("refused" if answer.status else "unreachable").inc()
        await self._store.end_attempt(
            delivery.account_id,
            delivery.delivery_id,
            "pending",
            status=answer.status,
            next_us=round((now_s + delay_s) * 1e6),
        )

    async def _end(
        self, delivery: Delivery, outcome: str, status: int = 0, *, disables_endpoint: bool = False
    ) -> None:
        self._metrics.deliveries.labels(outcome).inc()
        log.info("webhook_ended", delivery_id=delivery.delivery_id, outcome=outcome, status=status)
        await self._store.end_attempt(
            delivery.account_id,
            delivery.delivery_id,
            "failed",
            status=status,
            disables_endpoint=disables_endpoint,
        )

    async def _secrets(self, delivery: Delivery) -> list[str]:
        if not delivery.endpoint_id:
            await self._store.request_secret(delivery.account_id, self._new_secret())
        return await self._store.signing_secrets(delivery.account_id, delivery.endpoint_id)
