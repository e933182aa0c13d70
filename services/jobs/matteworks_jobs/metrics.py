"""Every metric of jobs beside those of its RPCs."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from matteworks_common.telemetry import DURATION_BUCKETS_S


class JobsMetrics:
    """Of the process that serves. Labels come from closed sets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.waiting = Gauge(
            "matteworks_jobs_waiting_items", "Items of all accounts that have not ended.", registry=registry
        )
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
            "Rounds of upkeep that failed, by duty: sweep, remind, deliver.",
            ["duty"], registry=registry,
        )  # fmt: skip


class WorkerMetrics:
    """Of a worker."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.items = Counter(
            "matteworks_jobs_worker_items",
            "Tries by outcome: succeeded, failed, cancelled, put_off.",
            ["outcome"], registry=registry,
        )  # fmt: skip
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
