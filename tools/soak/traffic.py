"""What customers do all the time: cut out, store, read, delete, hand in batches."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import grpc
import httpx

from matteworks.jobs.v1 import jobs_pb2, jobs_pb2_grpc, removal_pb2
from matteworks_client import AsyncMatteworksClient
from matteworks_common.errors import MatteworksError, NotFound, from_rpc_error

BATCH_PICTURES = 8
# While a part is restarted, calls may fail; what was accepted may not be lost.
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 4.0


@dataclass
class Tally:
    """What was done, what was refused, and what went wrong beyond a refusal."""

    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    batch_ids: list[str] = field(default_factory=list)
    item_ids: list[str] = field(default_factory=list)
    charged: int = 0


class Traffic:
    """`photo` is sent again and again, each time with other bytes behind its end: none is a repeat."""

    def __init__(
        self, base_url: str, internal_target: str, account_id: str, key: str, hook_url: str, photo: bytes
    ) -> None:
        self.tally = Tally()
        self._account_id = account_id
        self._key = key
        self._hook_url = hook_url
        self._photo = photo
        self._numbers = itertools.count()
        self._stopping = asyncio.Event()
        self._http = httpx.AsyncClient(
            base_url=base_url, timeout=60, headers={"Authorization": f"Bearer {key}", "X-Api-Key": key}
        )
        self._client = AsyncMatteworksClient(internal_target)
        self._channel = grpc.aio.insecure_channel(internal_target)
        self._jobs = jobs_pb2_grpc.JobServiceStub(self._channel)

    async def run(self, seconds: float) -> None:
        """All of it for so long; every batch that was begun has ended when this returns."""
        asyncio.get_running_loop().call_later(seconds, self._stopping.set)
        async with asyncio.TaskGroup() as group:
            for act in (self._cut_out, self._store_and_delete, self._hand_in_one, self._hand_in_batch):
                group.create_task(self._repeat(act))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._client.close()
        await self._channel.close()

    async def ended(self, item_id: str) -> removal_pb2.Item:
        """The item, once it has ended."""
        request = jobs_pb2.GetItemRequest(account_id=self._account_id, item_id=item_id)
        while True:
            item = (await self._jobs.GetItem(request, timeout=10)).item
            if item.state != removal_pb2.ITEM_STATE_PENDING:
                return item
            await asyncio.sleep(_PAUSE_S)

    async def _repeat(self, act: Any) -> None:
        name = act.__name__.strip("_").replace("_", " ")
        while not self._stopping.is_set():
            try:
                await act(name)
            except (MatteworksError, grpc.aio.AioRpcError, httpx.HTTPError) as error:
                self.tally.refused[f"{name}: {_short(error)}"] += 1
                await asyncio.sleep(_PAUSE_S)
            # People pause; without that, batches would get but a small share of the time.
            await asyncio.sleep(random.uniform(0, _LONGEST_PAUSE_S))  # noqa: S311

    def _new_photo(self) -> bytes:
        return self._photo + f"{id(self)}/{next(self._numbers)}".encode()

    async def _post(self, path: str, **fields: str) -> httpx.Response:
        files = {"image_file": ("a.jpg", self._new_photo())}
        return (await self._http.post(path, files=files, data=fields)).raise_for_status()

    async def _cut_out(self, name: str) -> None:
        """A synchronous removal."""
        answer = await self._post("/v1.0/removebg", size="full")
        self.tally.charged += round(1000 * float(answer.headers["X-Credits-Charged"]))
        self.tally.done[name] += 1

    async def _store_and_delete(self, name: str) -> None:
        """A result by URL: read, read in part, deleted, gone."""
        files = {"image": ("a.jpg", self._new_photo())}
        answer = (await self._http.post("/v1/remove", files=files)).raise_for_status()
        data = answer.json()["data"]
        self.tally.charged += round(1000 * data["credits_used"])
        url = data["output_url"]
        whole = (await self._http.get(url)).raise_for_status().content
        part = (await self._http.get(url, headers={"Range": "bytes=10-19"})).raise_for_status()
        if (part.status_code, part.content) != (206, whole[10:20]):
            self.tally.faults.append(f"a range of {url} is wrong")
        (await self._http.delete(f"/v1/images/{data['id']}")).raise_for_status()
        again = await self._http.get(url)
        if again.status_code == httpx.codes.OK:
            self.tally.faults.append(f"{url} answers after its deletion")
        self.tally.done[name] += 1

    async def _hand_in_one(self, name: str) -> None:
        """A removal that ends by webhook."""
        request = jobs_pb2.CreateRemovalRequest(
            caller=removal_pb2.Caller(account_id=self._account_id),
            removal=removal_pb2.RemovalSpec(image=self._new_photo()),
            webhook_url=self._hook_url,
        )
        accepted = (await self._jobs.CreateRemoval(request, timeout=20)).item
        self.tally.item_ids.append(accepted.item_id)
        self.tally.done[name] += 1
        await asyncio.sleep(2 * _PAUSE_S)

    async def _hand_in_batch(self, name: str) -> None:
        """A batch with one picture that is none; half of its results are deleted at once."""
        pictures = [self._new_photo() for _ in range(BATCH_PICTURES - 1)] + [b"this is no picture"]
        batch = await self._client.submit_batch(pictures, key=self._key, webhook_url=self._hook_url)
        self.tally.batch_ids.append(batch.batch_id)
        async for told in self._client.watch(batch.batch_id, key=self._key):
            batch = told
        if (batch.succeeded_count, batch.failed_count) != (BATCH_PICTURES - 1, 1):
            self.tally.faults.append(f"{batch} did not end as it should")
        items = [item async for item in self._client.items(batch.batch_id, key=self._key)]
        for item in items[::2]:
            if item.result is not None:
                await self._client.delete_result(item.result.result_id, key=self._key)
        self.tally.done[name] += 1

    async def delete_all(self, result_ids: list[str]) -> None:
        """Delete results; one that is gone already is fine."""
        for result_id in result_ids:
            try:
                await self._client.delete_result(result_id, key=self._key)
            except NotFound:
                continue


def _short(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"HTTP {error.response.status_code}"
    if isinstance(error, grpc.aio.AioRpcError):
        error = from_rpc_error(error)
    return error.reason_name if isinstance(error, MatteworksError) else type(error).__name__
