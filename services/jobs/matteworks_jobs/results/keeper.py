"""Results: bytes in the object store, an index entry for each, and a URL to hand out."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from matteworks.jobs.v1 import removal_pb2
from matteworks_common.clock import Clock
from matteworks_jobs.results.objects import ObjectBox, result_not_found
from matteworks_jobs.results.signing import UrlSigner
from matteworks_jobs.stores.records import ResultRecord
from matteworks_jobs.stores.results import ResultIndex

# An upload that takes longer is given up, and its bytes are swept.
_UPLOAD_US = 3_600_000_000
# The longest that S3 signs for.
_MAX_NATIVE_S = 7 * 86_400
SWEEP_ITEMS = 100


class ResultKeeper:
    """`has_native_urls`: hand out the object store's own URLs where it has some."""

    def __init__(
        self, index: ResultIndex, box: ObjectBox, signer: UrlSigner, clock: Clock, *, has_native_urls: bool
    ) -> None:
        self._index = index
        self._box = box
        self._signer = signer
        self._clock = clock
        self._has_native_urls = has_native_urls

    async def store(
        self, account_id: str, result_id: str, content: bytes, content_type: str, expires_us: int, url_us: int
    ) -> ResultRecord:
        """Keep bytes. Doomed first and indexed last, so that bytes whose storer died do not stay."""
        name = f"results/{result_id}"
        await self._index.doom(name, round(self._clock.unix_s() * 1e6) + _UPLOAD_US)
        await self._box.put(name, content, content_type)
        await self._index.add(account_id, result_id, content_type, len(content), expires_us, url_us)
        return await self.get(account_id, result_id)

    async def get(self, account_id: str, result_id: str) -> ResultRecord:
        """An account's own. Raises NotFound (RESULT_NOT_FOUND)."""
        record = await self._index.get(result_id)
        if record is None or record.account_id != account_id:
            raise result_not_found()
        return record

    async def get_signed(self, result_id: str, expires_s: int, signature: str) -> ResultRecord:
        """That of a signed URL. Raises Forbidden (RESULT_URL_INVALID), NotFound."""
        self._signer.check(result_id, expires_s, signature, self._clock.unix_s())
        record = await self._index.get(result_id)
        if record is None:
            raise result_not_found()
        return record

    async def delete(self, account_id: str, result_id: str) -> None:
        """Gone when this returns. Raises NotFound; Unavailable when the bytes could not be deleted yet:
        then nobody reads them any more, and the sweeper tries again.
        """
        if not await self._index.drop(account_id, result_id):
            raise result_not_found()
        await self.bury([f"results/{result_id}"])

    async def bury(self, names: list[str]) -> None:
        """Delete doomed objects."""
        for name in names:
            await self._box.delete(name)
        await self._index.gone(names)

    async def sweep(self) -> int:
        """Delete what has expired and what is doomed; how many objects."""
        while await self._index.expire(SWEEP_ITEMS):
            pass
        count = 0
        while names := await self._index.doomed(SWEEP_ITEMS):
            await self.bury(names)
            count += len(names)
        return count

    async def to_proto(self, record: ResultRecord) -> removal_pb2.StoredResult:
        """With a fresh URL."""
        return removal_pb2.StoredResult(
            result_id=record.result_id,
            url=await self._url(record),
            url_expire_time=_timestamp(record.url_until_us),
            expire_time=_timestamp(record.expires_us),
            content_type=record.content_type,
            size_bytes=record.size_bytes,
            create_time=_timestamp(record.created_us),
        )

    async def _url(self, record: ResultRecord) -> str:
        if self._has_native_urls:
            left_s = record.url_until_us / 1e6 - self._clock.unix_s()
            name = f"results/{record.result_id}"
            url = await self._box.native_url(name, max(1.0, min(left_s, _MAX_NATIVE_S)))
            if url:
                return url
        return self._signer.sign(record.result_id, record.url_until_us // 1_000_000)


def _timestamp(time_us: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(time_us)
    return stamp
