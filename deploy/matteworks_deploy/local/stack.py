"""A whole stack as one thing: started in parallel, ready when all of it is, stopped in order."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from matteworks_common.channels import open_channel
from matteworks_common.settings import MEBIBYTE, SettingsError
from matteworks_common.tls import Identity, identity_in
from matteworks_deploy.envoy.settings import Endpoint
from matteworks_deploy.failures import EXIT_USAGE, CommandFailed
from matteworks_deploy.local.development import development_key
from matteworks_deploy.local.options import StackOptions
from matteworks_deploy.local.parts import choose_models, envoy_binary, require_extras, valkey_binary
from matteworks_deploy.local.ports import LOOPBACK, is_free
from matteworks_deploy.local.process import KeptProcess, ProcessSpec, WriteLine
from matteworks_deploy.local.readiness import (
    accept_any_certificate,
    wait_for_http,
    wait_for_port,
    wait_for_serving,
)
from matteworks_deploy.local.services import (
    ENVOY_ADMIN_SOCKET,
    Addresses,
    ServiceSpecs,
    choose_addresses,
    envoy_settings,
)
from matteworks_deploy.local.state import StackFacts, StateDirectory, write_private
from matteworks_deploy.topology import SERVICES, Protocol, Service, service

# The first start optimises each network's graph, which takes its time on a small machine.
START_TIMEOUT_S = 180.0
STOP_GRACE_S = 12.0
_MESSAGE_BYTES = 4 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class ReadyStack:
    """A stack that answers. `start_s` is how long it took."""

    base_url: str
    internal_target: str
    key: str
    models: tuple[str, ...]
    start_s: float
    metrics_targets: Path


@asynccontextmanager
async def running_stack(
    options: StackOptions,
    environment: Mapping[str, str],
    write_line: WriteLine,
) -> AsyncIterator[ReadyStack]:
    """A stack that runs while the block does.

    Raises CommandFailed, with exit code 2 when a part is missing or a port is taken, before anything was
    started.
    """
    started_s = time.monotonic()
    require_extras("local", *(row.name for row in SERVICES))
    wanted = ((options.host, options.port, "--port"), (LOOPBACK, options.internal_port, "--internal-port"))
    for host, port, option in wanted:
        if port and not is_free(host, port):
            raise CommandFailed(
                f"Port {port} is in use; stop what listens there, or choose another with {option} "
                "(0 takes a free one).",
                EXIT_USAGE,
            )
    identity = _identity(options)
    models = choose_models(options.models_directory, options.models)
    state = StateDirectory(options.state_directory)
    state.prepare()
    with state.locked(), state.shared_memory() as shared_memory:
        stack = _Stack(options, identity, models, state, shared_memory, environment, write_line)
        try:
            key = await stack.start()
            yield ReadyStack(
                stack.base_url,
                stack.internal_target,
                key,
                models,
                time.monotonic() - started_s,
                state.metrics_targets_path,
            )
        finally:
            await stack.stop()
            state.forget_facts()


class _Stack:
    def __init__(
        self,
        options: StackOptions,
        identity: Identity | None,
        models: tuple[str, ...],
        state: StateDirectory,
        shared_memory: Path | None,
        environment: Mapping[str, str],
        write_line: WriteLine,
    ) -> None:
        self._state = state
        self._write_line = write_line
        self._addresses: Addresses = choose_addresses(options)
        self._specs = ServiceSpecs(options, models, self._addresses, state, shared_memory, environment)
        self._kept: list[KeptProcess] = []
        # Groups in the order in which they stop: who calls others before those who are called.
        self._stop_order: list[list[KeptProcess]] = []
        self._pids: dict[str, int] = {"launcher": os.getpid()}
        host = "127.0.0.1" if options.host in ("0.0.0.0", "::") else options.host  # noqa: S104
        self.internal_target = str(self._addresses.internal)
        scheme = "https" if options.public_tls else "http"
        self.base_url = f"{scheme}://{host}:{self._addresses.public.port}"
        self._options = options
        self._identity = identity

    async def start(self) -> str:
        """Start everything and return the development key once everything answers."""
        run_path = self._state.run_path
        addresses = self._addresses
        valkey_config = run_path / "valkey.conf"
        write_private(valkey_config, self._specs.valkey_config())
        # The slowest first: the networks load while everything else starts.
        rows = sorted(SERVICES, key=lambda row: not row.workers_by_cores)
        launched = {row.name: [(self._launch(spec), at) for spec, at in self._specs.of(row)] for row in rows}
        valkey = self._launch(self._specs.valkey(valkey_binary(), valkey_config))
        documents = await asyncio.to_thread(
            _envoy_documents, self._options, addresses, run_path, self._specs.environment
        )
        for name, text in documents.items():
            write_private(run_path / name, text)
        envoy_config = run_path / "envoy.json"
        envoy = self._launch(self._specs.envoy(envoy_binary(), envoy_config))
        ranks = sorted({row.stop_rank for row in SERVICES})
        groups = [[row.name for row in SERVICES if row.stop_rank == rank] for rank in ranks]
        self._stop_order = [
            *([kept for name in names for kept, _ in launched[name]] for names in groups),
            [envoy],
            [valkey],
        ]
        (auth, auth_address), *other_auths = launched["auth"]
        launched["auth"] = other_auths
        ready = [
            self._when_ready(valkey, wait_for_port(addresses.valkey.host, addresses.valkey.port)),
            self._when_ready(envoy, wait_for_http(f"{self.base_url}/readyz", accept_any_certificate())),
            *(
                self._when_ready(kept, _until_ready(service(name), at, self._identity))
                for name, processes in launched.items()
                for kept, at in processes
            ),
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for waiting in ready:
                    group.create_task(waiting)
                key = group.create_task(self._key_when_ready(auth, auth_address))
        except* CommandFailed as failures:
            raise next(failure for failure in failures.exceptions) from None
        self._write_facts()
        return key.result()

    async def stop(self) -> None:
        """Stop everything, callers before those they call. Cancelled, it kills. Leaves no process."""
        try:
            for group in self._stop_order or [self._kept]:
                await asyncio.gather(*(kept.stop(STOP_GRACE_S) for kept in group))
        except asyncio.CancelledError:
            for kept in self._kept:
                kept.kill()
            await asyncio.gather(*(kept.stop(STOP_GRACE_S) for kept in self._kept))
            raise

    def _launch(self, spec: ProcessSpec) -> KeptProcess:
        kept = KeptProcess(spec, self._write_line, self._on_started)
        self._kept.append(kept)
        kept.start()
        return kept

    def _on_started(self, name: str, pid: int) -> None:
        is_restart = name in self._pids
        self._pids[name] = pid
        if is_restart:
            self._write_facts()

    def _write_facts(self) -> None:
        self._state.write_metrics_targets(self._specs.metrics_targets())
        self._state.write_facts(
            StackFacts(
                base_url=self.base_url,
                internal_target=self.internal_target,
                envoy_admin=str(self._state.run_path / ENVOY_ADMIN_SOCKET),
                tls_directory=str(self._identity.directory.absolute()) if self._identity else "",
                addresses=self._specs.addresses(),
                pids=self._pids,
            )
        )

    async def _when_ready(self, kept: KeptProcess, ready: Awaitable[None]) -> None:
        waiting = asyncio.ensure_future(ready)
        either: set[asyncio.Future[Any]] = {waiting, kept.failed}
        try:
            done, _ = await asyncio.wait(either, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if waiting in done:
            waiting.result()
            kept.mark_ready()
            return
        if kept.failed in done:
            raise CommandFailed(kept.failed.result(), EXIT_USAGE)
        raise CommandFailed(
            f"{kept.spec.name} was not ready within {START_TIMEOUT_S:g} s; it said last:\n{kept.last_lines()}"
        )

    async def _key_when_ready(self, auth: KeptProcess, address: Endpoint) -> str:
        target = str(address)
        await self._when_ready(auth, wait_for_serving(target, self._identity))
        try:
            port = self._addresses.public.port
            scheme = self.base_url.partition(":")[0]
            origins = [f"{scheme}://{host}:{port}" for host in ("127.0.0.1", "localhost")]
            async with open_channel(target, _MESSAGE_BYTES, self._identity) as channel:
                admin_token = self._state.secret("admin-token")
                return await development_key(channel, admin_token, self._state, origins)
        except grpc.aio.AioRpcError as error:
            raise CommandFailed(
                f"The development account could not be made: {error.code().name}: {error.details()}"
            ) from error


def _identity(options: StackOptions) -> Identity | None:
    """The processes' common identity. Raises CommandFailed when certificates are not where they should be."""
    try:
        identity = identity_in(options.internal_tls)
    except SettingsError as error:
        raise CommandFailed(f"--internal-tls: {error}", EXIT_USAGE) from error
    for directory in filter(None, [options.public_tls]):
        for path in (directory / "tls.crt", directory / "tls.key"):
            if not path.is_file():
                raise CommandFailed(f"--public-tls: {path} is not there.", EXIT_USAGE)
    return identity


def _envoy_documents(
    options: StackOptions, addresses: Addresses, run_path: Path, environment: Mapping[str, str]
) -> dict[str, str]:
    """The files that Envoy reads, by their names."""
    # Imported here: a thousand generated types take a second, in which the services already load.
    from matteworks_deploy.envoy.bootstrap import envoy_json
    from matteworks_deploy.envoy.tls import secret_documents

    settings = envoy_settings(options, addresses, run_path, environment)
    return {"envoy.json": envoy_json(settings), **secret_documents(settings)}


def _until_ready(row: Service, address: Endpoint, identity: Identity | None) -> Awaitable[None]:
    if row.protocol is Protocol.HTTP:
        scheme = "https" if identity else "http"
        return wait_for_http(f"{scheme}://{address}/readyz", identity.client_context() if identity else None)
    return wait_for_serving(str(address), identity)
