"""Runs a worker: `python -m matteworks_jobs.worker`. It serves nothing but its health."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import structlog

from matteworks_common.channels import open_channel
from matteworks_common.clock import Clock
from matteworks_common.errors import Unavailable
from matteworks_common.lifecycle import App, main
from matteworks_common.tls import identity_in
from matteworks_jobs.app import JobsDependencies, cancelled, open_connector, open_stores
from matteworks_jobs.metrics import WorkerMetrics, watch_objects
from matteworks_jobs.settings import WorkerSettings
from matteworks_jobs.stores.webhooks import WebhookStore
from matteworks_jobs.webhooks.payloads import low_credits_text
from matteworks_jobs.work.queue import ItemQueue
from matteworks_jobs.work.runner import ItemRunner
from matteworks_outbound.addresses import PublicAddresses, parse_internal_hosts
from matteworks_outbound.fetcher import GuardedFetcher
from matteworks_removal.clients import AuthClient, CompositorClient, RequestLogClient
from matteworks_removal.ledger import Ledger
from matteworks_removal.low_credits import LowCredits, Tell
from matteworks_removal.request_log import RequestLog
from matteworks_removal.service import RemovalService

_RESERVATION_MARGIN_S = 30.0
_COMMIT_RETRY_DELAYS_S = (0.1, 0.3, 1.0)
_RECONNECT_S = 1.0
log = structlog.get_logger()


async def build(settings: WorkerSettings, deps: JobsDependencies | None = None) -> App:
    """Wire a worker; it takes items from the queue until it is closed, and ends those that it has."""
    deps = deps or JobsDependencies()
    async with AsyncExitStack() as opening:
        stores = open_stores(settings, deps.clock)
        opening.push_async_callback(stores.session.close)
        identity = identity_in(settings.tls_directory)
        auth_channel = open_channel(settings.auth_target, settings.max_message_bytes, identity)
        opening.push_async_callback(auth_channel.close)
        compositor_channel = open_channel(settings.compositor_target, settings.max_message_bytes, identity)
        opening.push_async_callback(compositor_channel.close)
        auth = AuthClient(auth_channel, settings.auth_timeout_s)
        compositor = CompositorClient(compositor_channel, settings.item_timeout_s)
        app = App(
            "jobs_worker",
            (),
            lambda _server: None,
            checks={
                "store": stores.session.ping,
                "objects": stores.box.check,
                "auth": auth.check,
                "compositor": compositor.check,
            },
        )
        metrics = WorkerMetrics(app.registry)
        watch_objects(stores.box, "jobs_worker", app.registry)
        judge = PublicAddresses(parse_internal_hosts(settings.internal_sources))
        fetcher = GuardedFetcher(
            open_connector(judge, deps.resolver, opening),
            lambda outcome: metrics.fetches.labels(outcome).inc(),
            timeout_s=settings.fetch_timeout_s,
            ports=None,
        )
        opening.push_async_callback(fetcher.aclose)
        ledger = Ledger(
            auth,
            lambda outcome: metrics.releases.labels(outcome).inc(),
            retry_delays_s=_COMMIT_RETRY_DELAYS_S,
            low_credits=LowCredits(_teller(stores.webhooks, deps.clock)),
        )
        opening.push_async_callback(ledger.settle)
        request_log = RequestLog(
            RequestLogClient(auth_channel, settings.auth_timeout_s),
            lambda count: metrics.unlogged.inc(count),
        )
        request_log.start()
        opening.push_async_callback(request_log.close)
        runner = ItemRunner(
            stores.items,
            stores.index,
            stores.box,
            RemovalService(
                ledger, compositor, fetcher, reservation_s=settings.item_timeout_s + _RESERVATION_MARGIN_S
            ),
            deps.clock,
            metrics,
            timeout_s=settings.item_timeout_s,
            max_age_s=settings.max_item_age_s,
            note=request_log.note,
        )
        opening.push_async_callback(cancelled, asyncio.create_task(_consume(settings, runner)))
        app.closing = opening.pop_all()
    return app


def _teller(webhooks: WebhookStore, clock: Clock) -> Tell:
    async def tell(account_id: str, available_milli: int, granted_milli: int) -> None:
        text = low_credits_text(round(clock.unix_s() * 1e6), available_milli)
        await webhooks.announce_low(account_id, granted_milli, text)

    return tell


async def _consume(settings: WorkerSettings, runner: ItemRunner) -> None:
    """Until cancelled; a Valkey that went away is looked for again."""
    while True:
        queue = ItemQueue(
            settings.store_url,
            settings.signing_secret.get_secret_value(),
            reclaim_s=settings.reclaim_s,
            concurrency=settings.worker_concurrency,
        )
        try:
            await queue.consume(runner.run)
        except Unavailable:
            log.warning("queue_interrupted")
        except Exception:
            # Whatever the library did, the next connection starts afresh.
            log.exception("queue_failed")
        await asyncio.sleep(_RECONNECT_S)


if __name__ == "__main__":
    main("jobs-worker", WorkerSettings, build)
