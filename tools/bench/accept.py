"""How soon a batch of 20 is accepted, by the whole stack: python -m tools.bench.accept

Once with results in a directory and once on a real S3 server. Each batch is sent through the internal
listener and cancelled when it has been accepted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import grpc

from matteworks.jobs.v1 import jobs_pb2, jobs_pb2_grpc, removal_pb2
from matteworks_deploy.local.development import ACCOUNT_ID
from matteworks_deploy.local.options import StackOptions
from matteworks_deploy.local.process import ProcessSpec
from matteworks_deploy.local.stack import running_stack
from matteworks_deploy.topology import Service
from tools.object_server import BUCKET, ObjectServer

PHOTO = Path(__file__).resolve().parents[2] / "cli/matteworks_cli/demo/astronaut.jpg"
PICTURES = 20
ROUNDS = 60
WARM_ROUNDS = 10


async def accept_times_s(target: str) -> list[float]:
    """How long each batch took to be accepted."""
    caller = removal_pb2.Caller(account_id=ACCOUNT_ID)
    photo = PHOTO.read_bytes()

    def parts() -> Iterator[jobs_pb2.CreateBatchRequest]:
        yield jobs_pb2.CreateBatchRequest(header=jobs_pb2.BatchHeader(caller=caller))
        for _ in range(PICTURES):
            yield jobs_pb2.CreateBatchRequest(item=removal_pb2.RemovalSpec(image=photo))

    taken_s = []
    async with grpc.aio.insecure_channel(target) as channel:
        jobs = jobs_pb2_grpc.JobServiceStub(channel)
        for _ in range(ROUNDS + WARM_ROUNDS):
            began_s = time.perf_counter()
            batch = (await jobs.CreateBatch(parts(), timeout=30)).batch
            taken_s.append(time.perf_counter() - began_s)
            cancel = jobs_pb2.CancelBatchRequest(account_id=ACCOUNT_ID, batch_id=batch.batch_id)
            await jobs.CancelBatch(cancel, timeout=30)
            # What a worker had begun ends first.
            await asyncio.sleep(0.3)
    return taken_s[WARM_ROUNDS:]


async def measure(models_directory: Path, directory: Path, name: str, store: Mapping[str, str]) -> None:
    """Print the figures of one store; `store` is what the services that use it find in their environment."""

    def place(row: Service, spec: ProcessSpec) -> ProcessSpec:
        return replace(spec, environment={**spec.environment, **store}) if row.keeps_results else spec

    options = StackOptions(
        port=0, state_directory=directory / name, models_directory=models_directory, models=("u2netp",)
    )
    async with running_stack(options, os.environ, lambda _who, _line: None, place) as stack:
        taken_s = await accept_times_s(stack.internal_target)
    worst_s = statistics.quantiles(taken_s, n=20)[-1]
    print(f"{name}: median {1000 * statistics.median(taken_s):.0f} ms, p95 {1000 * worst_s:.0f} ms")


async def run(models_directory: Path, directory: Path) -> None:
    """Both stores, one after the other."""
    await measure(models_directory, directory, "directory", {})
    objects = ObjectServer(directory / "objects")
    try:
        await asyncio.to_thread(objects.start)
        store = {"MATTEWORKS_JOBS_OBJECT_STORE_URL": f"s3://{BUCKET}", **objects.environment}
        await measure(models_directory, directory, "bucket", store)
    finally:
        objects.kill()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.accept", description=__doc__)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="matteworks-accept-", ignore_cleanup_errors=True) as scratch:
        asyncio.run(run(parsed.models_dir, Path(scratch)))


if __name__ == "__main__":
    main()
