"""Wires the process that serves."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import grpc

from matteworks.jobs.v1 import jobs_pb2_grpc, results_pb2_grpc, webhooks_pb2_grpc
from matteworks_common.clock import Clock, SystemClock
from matteworks_common.lifecycle import App
from matteworks_jobs.items_view import ItemView
from matteworks_jobs.metrics import JobsMetrics, watch_objects
from matteworks_jobs.results.keeper import ResultKeeper
from matteworks_jobs.results.objects import ObjectBox, open_box
from matteworks_jobs.results.signing import UrlSigner
from matteworks_jobs.servicers.job_servicer import JobServicer
from matteworks_jobs.servicers.result_servicer import ResultServicer
from matteworks_jobs.servicers.webhook_servicer import WebhookServicer, new_secret
from matteworks_jobs.settings import JobsSettings
from matteworks_jobs.stores.changes import ChangeFeed
from matteworks_jobs.stores.connection import open_valkey
from matteworks_jobs.stores.items import ItemStore
from matteworks_jobs.stores.results import ResultIndex
from matteworks_jobs.stores.session import Session
from matteworks_jobs.stores.webhooks import WebhookStore
from matteworks_jobs.upkeep import Upkeep
from matteworks_jobs.webhooks.deliverer import Deliverer
from matteworks_jobs.webhooks.payloads import Payloads
from matteworks_jobs.webhooks.sender import WebhookSender
from matteworks_jobs.work.queue import ItemQueue
from matteworks_outbound.addresses import AddressJudge, PublicAddresses, parse_internal_hosts
from matteworks_outbound.fetcher import GuardedBackend, Resolver, SystemResolver

SERVICE_NAMES = (
    "matteworks.jobs.v1.JobService",
    "matteworks.jobs.v1.ResultService",
    "matteworks.jobs.v1.WebhookService",
)
# Beyond the retention of its results: how long an item may wait, and its webhook be tried.
_KEEP_US = 11 * 86_400_000_000


@dataclass(frozen=True, slots=True)
class JobsDependencies:
    """What tests replace. `does_upkeep` False: the test calls what is due itself. `chance` gives numbers
    from 0 to 1, by which tries of webhooks are spread.
    """

    clock: Clock = field(default_factory=SystemClock)
    resolver: Resolver | None = None
    does_upkeep: bool = True
    chance: Callable[[], float] = random.SystemRandom().random


@dataclass(frozen=True, slots=True)
class Stores:
    """What both processes remember, and where the bytes are."""

    session: Session
    items: ItemStore
    index: ResultIndex
    webhooks: WebhookStore
    box: ObjectBox


@dataclass
class JobsApp(App):
    """With what a test drives by hand."""

    upkeep: Upkeep | None = None
    deliverer: Deliverer | None = None


def open_stores(settings: JobsSettings, clock: Clock) -> Stores:
    """Nothing is sent yet; close the session at the end."""
    session = Session(
        open_valkey(settings.store_url, settings.store_timeout_s), clock, settings.store_timeout_s
    )
    return Stores(
        session,
        ItemStore(session, settings.max_waiting_items, _KEEP_US),
        ResultIndex(session),
        WebhookStore(session),
        open_box(settings.object_store_url, settings.min_free_mb),
    )


def open_connector(judge: AddressJudge, resolver: Resolver | None, opening: AsyncExitStack) -> GuardedBackend:
    """The only way outside: where `judge` allows."""
    if resolver is None:
        system_resolver = SystemResolver()
        opening.callback(system_resolver.close)
        resolver = system_resolver
    return GuardedBackend(resolver, judge, dns_timeout_s=3.0, connect_timeout_s=3.0)


async def build(settings: JobsSettings, deps: JobsDependencies | None = None) -> JobsApp:
    """Open stores and queue and wire the services; closed again when a later step fails."""
    deps = deps or JobsDependencies()
    clock = deps.clock
    secret = settings.signing_secret.get_secret_value()
    async with AsyncExitStack() as opening:
        stores = open_stores(settings, clock)
        opening.push_async_callback(stores.session.close)
        queue = await opening.enter_async_context(ItemQueue(settings.store_url, secret).open())
        app = JobsApp(
            "jobs",
            SERVICE_NAMES,
            lambda _server: None,
            checks={"store": stores.session.ping, "objects": stores.box.check},
        )
        metrics = JobsMetrics(app.registry)
        watch_objects(stores.box, "jobs", app.registry)
        keeper = ResultKeeper(
            stores.index,
            stores.box,
            UrlSigner(secret.encode(), settings.public_url),
            clock,
            has_native_urls=settings.native_urls,
        )
        view = ItemView(stores.items, keeper)
        judge = PublicAddresses(parse_internal_hosts(settings.internal_receivers))
        sender = WebhookSender(
            open_connector(judge, deps.resolver, opening), timeout_s=settings.webhook_timeout_s
        )
        opening.push_async_callback(sender.aclose)
        deliverer = Deliverer(
            stores.webhooks,
            Payloads(stores.items, view),
            sender,
            clock,
            metrics,
            new_secret,
            deps.chance,
            lease_s=2 * settings.webhook_timeout_s + 10,
        )
        feed = ChangeFeed(stores.session)
        jobs = JobServicer(stores.items, queue, stores.box, view, feed, judge)
        results = ResultServicer(keeper, stores.index, stores.box, clock)
        webhooks = WebhookServicer(stores.webhooks, judge, clock)

        def add_servicers(server: grpc.aio.Server) -> None:
            jobs_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
            results_pb2_grpc.add_ResultServiceServicer_to_server(results, server)
            webhooks_pb2_grpc.add_WebhookServiceServicer_to_server(webhooks, server)

        app.add_servicers = add_servicers
        app.deliverer = deliverer
        app.upkeep = Upkeep(
            stores.items,
            queue,
            keeper,
            deliverer,
            stores.webhooks,
            clock,
            metrics,
            settings.sweep_interval_s,
        )
        opening.push_async_callback(cancelled, asyncio.create_task(feed.run()))
        if deps.does_upkeep:
            opening.push_async_callback(cancelled, asyncio.create_task(app.upkeep.run()))
        app.closing = opening.pop_all()
    return app


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
