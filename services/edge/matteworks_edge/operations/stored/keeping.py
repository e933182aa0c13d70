"""Results that are stored before they are charged, and go again when nobody pays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from matteworks.jobs.v1 import removal_pb2
from matteworks_common.errors import MatteworksError
from matteworks_edge.jobs_client import JobsClient

__all__ = ["KeptResults", "keeping"]


@dataclass(slots=True)
class KeptResults:
    """What one request has stored so far, in order."""

    jobs: JobsClient
    owner: removal_pb2.Caller
    url_lifetime_s: float = 0
    results: list[removal_pb2.StoredResult] = field(default_factory=list)

    async def keep(self, content: bytes, content_type: str) -> None:
        """Store one more. Raises LimitExceeded (RESULT_STORE_FULL)."""
        self.results.append(
            await self.jobs.store(self.owner, content, content_type, url_lifetime_s=self.url_lifetime_s)
        )


@asynccontextmanager
async def keeping(
    jobs: JobsClient, owner: removal_pb2.Caller, url_lifetime_s: float = 0
) -> AsyncIterator[KeptResults]:
    """Where a request keeps its results; when the block fails, they are deleted."""
    kept = KeptResults(jobs, owner, url_lifetime_s)
    try:
        yield kept
    except BaseException:
        for result in kept.results:
            try:
                await jobs.delete(owner.account_id, result.result_id)
            except MatteworksError:
                # It goes when it expires.
                continue
        raise
