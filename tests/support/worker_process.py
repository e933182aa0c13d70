"""Workers in processes of their own, so that a test can kill them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from matteworks_deploy.local.ports import free_ports

START_TIMEOUT_S = 60.0


@dataclass
class WorkerProcess:
    """`python -m matteworks_jobs.worker`, with its words in `log`."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    async def wait_until_healthy(self) -> None:
        """Until it takes items."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        request = health_pb2.HealthCheckRequest()
        async with grpc.aio.insecure_channel(self.address) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            while self.process.poll() is None and time.monotonic() < deadline_s:
                try:
                    answer = await check(request, timeout=1)
                except grpc.aio.AioRpcError:
                    answer = None
                if answer is not None and answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
                await asyncio.sleep(0.05)
        raise AssertionError(f"the worker did not start:\n{self.log.read_text()[-3000:]}")

    def kill(self) -> None:
        """SIGKILL; harmless when it does not run."""
        self.process.kill()
        self.process.wait()


class WorkerPool:
    """Starts workers with the settings of `environment`; ends those that are left."""

    def __init__(self, environment: Mapping[str, object], directory: Path) -> None:
        self._environment = environment
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self.workers: list[WorkerProcess] = []

    def start(self, **changes: object) -> WorkerProcess:
        """One more; it needs a moment until it takes items."""
        address = f"127.0.0.1:{free_ports(1)[0]}"
        settings = {
            **self._environment, "listen_address": address, "health_interval_s": 0.2, **changes,
        }  # fmt: skip
        variables = {f"MATTEWORKS_JOBS_{name.upper()}": str(value) for name, value in settings.items()}
        log = self._directory / f"worker-{len(list(self._directory.iterdir()))}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "matteworks_jobs.worker"],
                stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **variables},
            )  # fmt: skip
        worker = WorkerProcess(process, address, log)
        self.workers.append(worker)
        return worker

    def kill(self, worker: WorkerProcess) -> None:
        """SIGKILL one of them."""
        self.workers.remove(worker)
        worker.kill()


@contextmanager
def worker_pool(environment: Mapping[str, object], directory: Path) -> Iterator[WorkerPool]:
    """A pool whose workers are killed when the block ends."""
    pool = WorkerPool(environment, directory)
    try:
        yield pool
    finally:
        for worker in list(pool.workers):
            pool.kill(worker)
