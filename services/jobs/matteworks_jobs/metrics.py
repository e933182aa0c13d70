"""Every metric of jobs beside those of its RPCs."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from matteworks_common.telemetry import DURATION_BUCKETS_S
from matteworks_jobs.results.objects import ObjectBox

# Items and webhooks may wait for hours.
_WAIT_BUCKETS_S: Final = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0)
_DELIVERED: Final = ("delivered", "refused", "unreachable", "gone", "given_up")
_TRIED: Final = ("succeeded", "failed", "cancelled", "put_off")
_DUTIES: Final = ("sweep", "remind", "deliver", "measure")


def watch_objects(box: ObjectBox, process: str, registry: CollectorRegistry) -> None:
    """Count what fails in the object store, and tell the room that is left in a directory."""
    failures = Counter(
        f"matteworks_{process}_object_store_failures",
        "Calls of the object store that failed, by operation (put, get, delete, check), and away or full.",
        ["operation", "reason"],
        registry=registry,
    )
    for operation in ("put", "get", "delete", "check"):
        failures.labels(operation, "away")
    failures.labels("put", "full")
    box.on_failure = lambda operation, reason: failures.labels(operation, reason).inc()
    Gauge(
        f"matteworks_{process}_object_store_free_bytes",
        "Room in the directory of results; infinite for a bucket.",
        registry=registry,
    ).set_function(box.free_bytes)


class JobsMetrics:
    """Of the process that serves. Labels come from closed sets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.waiting = Gauge(
            "matteworks_jobs_waiting_items", "Items of all accounts that have not ended.", registry=registry
        )
        self.oldest = Gauge(
            "matteworks_jobs_oldest_item_seconds",
            "Age of the item that was accepted first and has not ended; 0 when there is none.",
            registry=registry,
        )
        self.due = Gauge(
            "matteworks_jobs_due_webhooks", "Webhooks whose time has come and that were not tried yet.",
            registry=registry,
        )  # fmt: skip
        self.overdue = Gauge(
            "matteworks_jobs_overdue_webhook_seconds",
            "How long the first of them is overdue; 0 when there is none.",
            registry=registry,
        )
        self.delivery_seconds = Histogram(
            "matteworks_jobs_webhook_seconds", "Time of one try to deliver a webhook.",
            buckets=DURATION_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.deliveries = Counter(
            "matteworks_jobs_webhook_attempts",
            "Tries to deliver a webhook, by outcome: delivered, refused, unreachable, gone, given_up.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.swept = Counter(
            "matteworks_jobs_swept_objects", "Objects deleted because their time had come.", registry=registry
        )
        self.reminded = Counter(
            "matteworks_jobs_reminded_items",
            "Items that the queue was told of again.",
            registry=registry,
        )
        self.upkeep_failures = Counter(
            "matteworks_jobs_upkeep_failures",
            "Rounds of upkeep that failed, by duty: sweep, remind, deliver, measure.",
            ["duty"], registry=registry,
        )  # fmt: skip
        # A series that begins at its first event hides that event from `rate`.
        for outcome in _DELIVERED:
            self.deliveries.labels(outcome)
        for duty in _DUTIES:
            self.upkeep_failures.labels(duty)


class WorkerMetrics:
    """Of a worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.items = Counter(
            "matteworks_jobs_worker_items",
            "Tries by outcome: succeeded, failed, cancelled, put_off.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.waited = Histogram(
            "matteworks_jobs_worker_queue_seconds", "Time from an item's acceptance to its first try.",
            buckets=_WAIT_BUCKETS_S, registry=registry,
        )  # fmt: skip
        for outcome in _TRIED:
            self.items.labels(outcome)
        self.in_flight = Gauge(
            "matteworks_jobs_worker_in_flight", "Items being worked on.", registry=registry
        )
        self.duration = Histogram(
            "matteworks_jobs_worker_item_seconds", "Time of one try that ended its item.",
            buckets=DURATION_BUCKETS_S, registry=registry,
        )  # fmt: skip
        self.fetches = Counter(
            "matteworks_jobs_worker_fetches",
            "Pictures fetched, by outcome: ok, refused, timeout, address_refused, unreachable, broken.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.releases = Counter(
            "matteworks_jobs_worker_releases",
            "Reservations given back, by outcome: released, abandoned.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.unlogged = Counter(
            "matteworks_jobs_worker_unlogged_items",
            "Items that the accounts' lists of requests lack, because auth could not be told in time.",
            registry=registry,
        )
