"""What the operations of the gateway work with, wired once for all dialects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matteworks_edge.intake.admission import Admission
from matteworks_edge.jobs_client import JobsClient
from matteworks_edge.metrics import EdgeMetrics
from matteworks_edge.operations.idempotency import FirstAnswers
from matteworks_edge.operations.stored.queued import QueuedRemovals
from matteworks_edge.submissions import SubmissionBox
from matteworks_removal.clients import AuthClient
from matteworks_removal.edits import PaidEdits
from matteworks_removal.service import RemovalService
from matteworks_removal.sources import PictureFetcher


@dataclass(frozen=True, slots=True)
class Services:
    """The services behind the gateway, and the bounds in which a request uses them."""

    auth: AuthClient
    removals: RemovalService
    edits: PaidEdits
    jobs: JobsClient
    queued: QueuedRemovals
    first_answers: FirstAnswers
    fetcher: PictureFetcher
    submissions: SubmissionBox
    admission: Admission
    metrics: EdgeMetrics
    # Whether removals can be served now.
    is_ready: Callable[[], bool]
    receive_timeout_s: float
    request_timeout_s: float
