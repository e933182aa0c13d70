"""Wires the auth service."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc

from matteworks.auth.v1 import auth_pb2_grpc, idempotency_pb2_grpc, request_log_pb2_grpc
from matteworks_auth.admin_servicer import KeyAdminServicer
from matteworks_auth.auditor import Auditor
from matteworks_auth.authenticator import Authenticator
from matteworks_auth.idempotency_servicer import IdempotencyServicer
from matteworks_auth.metrics import AuthMetrics
from matteworks_auth.request_log_servicer import RequestLogServicer
from matteworks_auth.rules.keys import KeyHasher
from matteworks_auth.rules.plans import Plans, load_plans
from matteworks_auth.servicer import AuthServicer
from matteworks_auth.settings import AuthSettings
from matteworks_auth.stores.contract import AccountStore, AuditLimits
from matteworks_auth.stores.idempotency import IdempotencyStore
from matteworks_auth.stores.memory.idempotency import MemoryIdempotencyStore
from matteworks_auth.stores.memory.request_log import MemoryRequestLogStore
from matteworks_auth.stores.memory.store import MemoryAccountStore
from matteworks_auth.stores.request_log import LogLimits, RequestLogStore
from matteworks_auth.stores.valkey.connection import open_valkey
from matteworks_auth.stores.valkey.idempotency import ValkeyIdempotencyStore
from matteworks_auth.stores.valkey.request_log import ValkeyRequestLogStore
from matteworks_auth.stores.valkey.store import ValkeyAccountStore
from matteworks_auth.sweeper import Sweeper
from matteworks_common.clock import Clock, SystemClock
from matteworks_common.lifecycle import App

SERVICE_NAMES = (
    "matteworks.auth.v1.AuthService",
    "matteworks.auth.v1.KeyAdminService",
    "matteworks.auth.v1.IdempotencyService",
    "matteworks.auth.v1.RequestLogService",
)


@dataclass(frozen=True, slots=True)
class Stores:
    """What the service remembers, all in one place."""

    accounts: AccountStore
    calls: IdempotencyStore
    request_log: RequestLogStore


async def build(settings: AuthSettings, clock: Clock | None = None) -> App:
    """Open the store and wire the service. `clock` None: the machine's, and the store's own for money."""
    plans = load_plans(settings.plans_file)
    async with AsyncExitStack() as opening:
        stores = open_stores(settings, plans, clock)
        store = stores.accounts
        opening.push_async_callback(store.close)
        app = App("auth", SERVICE_NAMES, lambda _server: None, checks={"store": store.ping})
        metrics = AuthMetrics(app.registry)
        own_clock = clock or SystemClock()
        hasher = KeyHasher(settings.key_pepper.get_secret_value().encode())
        authenticator = Authenticator(store, hasher, own_clock, settings.key_cache_s, metrics)
        auth = AuthServicer(
            store,
            plans,
            authenticator,
            own_clock,
            settings.reservation_ttl_s,
            metrics,
            settings.low_credits_milli,
        )
        admin = KeyAdminServicer(
            store, plans, hasher, authenticator, own_clock, settings.admin_token.get_secret_value()
        )

        def add_servicers(server: grpc.aio.Server) -> None:
            auth_pb2_grpc.add_AuthServiceServicer_to_server(auth, server)
            auth_pb2_grpc.add_KeyAdminServiceServicer_to_server(admin, server)
            idempotency_pb2_grpc.add_IdempotencyServiceServicer_to_server(
                IdempotencyServicer(stores.calls), server
            )
            request_log_pb2_grpc.add_RequestLogServiceServicer_to_server(
                RequestLogServicer(stores.request_log, own_clock), server
            )

        app.add_servicers = add_servicers
        sweeper = Sweeper(store, settings.sweep_interval_s, metrics)
        opening.push_async_callback(_cancelled, asyncio.create_task(sweeper.run()))
        auditor = Auditor(store, own_clock, settings.audit_interval_s, settings.low_credits_milli, metrics)
        opening.push_async_callback(_cancelled, asyncio.create_task(auditor.run()))
        app.closing = opening.pop_all()
    return app


def open_stores(settings: AuthSettings, plans: Plans, clock: Clock | None) -> Stores:
    """The stores that `settings.store_url` names. Nothing is sent yet."""
    repeat_window_us = round(settings.repeat_window_s * 1e6)
    record_ttl_us = round(settings.record_ttl_s * 1e6)
    audit_limits = AuditLimits(settings.audit_max_events, settings.audit_retention_days * 86_400_000)
    log_limits = LogLimits(settings.requests_max, settings.requests_retention_days * 86_400_000_000)
    own_clock = clock or SystemClock()
    if settings.store_url == "memory:":
        return Stores(
            MemoryAccountStore(
                plans, own_clock, repeat_window_us, record_ttl_us, settings.max_records, audit_limits
            ),
            MemoryIdempotencyStore(own_clock),
            MemoryRequestLogStore(own_clock, log_limits),
        )
    client = open_valkey(settings.store_url, settings.store_timeout_s)
    return Stores(
        ValkeyAccountStore(
            client,
            plans,
            repeat_window_us,
            record_ttl_us,
            clock,
            settings.max_records,
            settings.store_timeout_s,
            audit_limits,
        ),
        ValkeyIdempotencyStore(client, clock, settings.store_timeout_s),
        ValkeyRequestLogStore(client, own_clock, log_limits, settings.store_timeout_s),
    )


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
