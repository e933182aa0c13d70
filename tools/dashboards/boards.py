"""What the dashboards show: requests, networks, jobs, money."""

from __future__ import annotations

from typing import Final

from tools.dashboards.panels import WINDOW, Board, Panel, mean, panel, quantile, rate

__all__ = ["BOARDS"]

# Beside metrics of any process: of ours alone, with the service's name.
_OURS: Final = "on (job, instance) group_left (component) matteworks_build_info"

_OVERVIEW: Final = Board(
    "matteworks-overview",
    "Matteworks: overview",
    "Requests, errors and durations by the API that was spoken, then by service.",
    (
        (
            "What callers see",
            (
                panel(
                    "Requests",
                    "reqps",
                    (rate("matteworks_edge_requests_total", "dialect"), "{{dialect}}"),
                    is_stacked=True,
                ),
                panel(
                    "Answers that are not 2xx",
                    "reqps",
                    (rate("matteworks_edge_requests_total", "outcome", 'status!="2xx"'), "{{outcome}}"),
                    told="By the reason of the error; 4xx are the callers' own.",
                    is_stacked=True,
                ),
                panel(
                    "Time to the answer",
                    "s",
                    (quantile(0.5, "matteworks_edge_request_seconds", "dialect"), "{{dialect}} median"),
                    (quantile(0.95, "matteworks_edge_request_seconds", "dialect"), "{{dialect}} 95 %"),
                ),
                panel(
                    "Where the time goes",
                    "s",
                    (mean("matteworks_edge_stage_seconds", "stage"), "{{stage}}"),
                    told="Mean of each stage of the edge; `render` is compositor and networks.",
                ),
            ),
        ),
        (
            "Services",
            (
                panel(
                    "Calls",
                    "reqps",
                    ("sum by (component, method) (matteworks:rpc:rate5m)", "{{component}} {{method}}"),
                ),
                panel(
                    "Calls that fail",
                    "reqps",
                    (
                        'sum by (component, method, code) (matteworks:rpc:rate5m{code!="OK"})',
                        "{{component}} {{method}} {{code}}",
                    ),
                ),
                panel(
                    "Time of calls, 95 %", "s", ("matteworks:rpc_seconds:p95_5m", "{{component}} {{method}}")
                ),
                panel(
                    "What is away",
                    "short",
                    (
                        "1 - min by (component, dependency) (matteworks_dependency_up)",
                        "{{component}} needs {{dependency}}",
                    ),
                    told="1: the service does not reach what it depends on.",
                ),
            ),
        ),
        (
            "Proxy and processes",
            (
                panel(
                    "Calls repeated by Envoy",
                    "reqps",
                    (rate("envoy_cluster_upstream_rq_retry", "envoy_cluster_name"), "{{envoy_cluster_name}}"),
                    (rate("envoy_cluster_upstream_rq_retry_overflow"), "refused by the budget"),
                    (rate("envoy_cluster_retry_or_shadow_abandoned"), "larger than the buffer"),
                ),
                panel(
                    "Healthy hosts",
                    "short",
                    (
                        "min by (envoy_cluster_name) (envoy_cluster_membership_healthy)",
                        "{{envoy_cluster_name}}",
                    ),
                ),
                panel(
                    "Memory",
                    "bytes",
                    (f"sum by (component) (process_resident_memory_bytes * {_OURS})", "{{component}}"),
                    is_stacked=True,
                ),
                panel(
                    "Processor",
                    "short",
                    (
                        f"sum by (component) (rate(process_cpu_seconds_total[{WINDOW}]) * {_OURS})",
                        "{{component}}",
                    ),
                    told="Cores in use.",
                    is_stacked=True,
                ),
            ),
        ),
    ),
)

_INFERENCE: Final = Board(
    "matteworks-inference",
    "Matteworks: inference and compositing",
    "The queue in front of the device, the batches, the device itself, and the steps around it.",
    (
        (
            "The device",
            (
                panel(
                    "Wait for the device",
                    "s",
                    (quantile(0.5, "matteworks_inference_queue_seconds", "urgency"), "{{urgency}} median"),
                    (quantile(0.95, "matteworks_inference_queue_seconds", "urgency"), "{{urgency}} 95 %"),
                ),
                panel(
                    "Device use",
                    "percentunit",
                    (
                        f"rate(matteworks_inference_device_busy_seconds_total[{WINDOW}])",
                        "{{process}} {{instance}}",
                    ),
                    told="Share of the time in which a process's device computes.",
                ),
                panel(
                    "Pictures in one run",
                    "short",
                    (mean("matteworks_inference_batch_items", "model"), "{{model}} mean"),
                    (quantile(0.95, "matteworks_inference_batch_items", "model"), "{{model}} 95 %"),
                ),
                panel(
                    "Time of one run", "s", (mean("matteworks_inference_run_seconds", "model"), "{{model}}")
                ),
            ),
        ),
        (
            "Pictures",
            (
                panel(
                    "Mattes",
                    "reqps",
                    (rate("matteworks_inference_segmented_total", "model"), "{{model}}"),
                    is_stacked=True,
                ),
                panel(
                    "Waiting, refused, dropped",
                    "short",
                    ("sum (matteworks_inference_queue_depth)", "waiting runs"),
                    (rate("matteworks_inference_refused_total", "reason"), "refused a second: {{reason}}"),
                    (
                        rate("matteworks_inference_queue_dropped_total", "reason"),
                        "dropped a second: {{reason}}",
                    ),
                ),
                panel(
                    "Stages of inference",
                    "s",
                    (mean("matteworks_inference_stage_seconds", "stage"), "{{stage}}"),
                    told="Mean.",
                ),
                panel(
                    "Networks and who has them",
                    "short",
                    ("count by (model, engine) (matteworks_inference_model_loaded)", "{{model}} {{engine}}"),
                ),
            ),
        ),
        (
            "Compositor",
            (
                panel(
                    "Steps",
                    "s",
                    (mean("matteworks_compositor_step_seconds", "step"), "{{step}}"),
                    told="Mean.",
                ),
                panel(
                    "Wait for a place",
                    "s",
                    (quantile(0.95, "matteworks_compositor_queue_seconds", "urgency"), "{{urgency}} 95 %"),
                ),
                panel(
                    "Megapixels in hand",
                    "short",
                    ("sum (matteworks_compositor_megapixels_in_flight)", "in flight"),
                    ("sum (matteworks_compositor_megapixels_waiting)", "waiting"),
                ),
                panel(
                    "Results",
                    "reqps",
                    (rate("matteworks_compositor_results_total", "format"), "{{format}}"),
                    is_stacked=True,
                ),
            ),
        ),
    ),
)

_JOBS: Final = Board(
    "matteworks-jobs",
    "Matteworks: jobs and webhooks",
    "Batches that nobody waits for, the store of results, and who is told.",
    (
        (
            "Items",
            (
                panel("Waiting items", "short", ("max (matteworks_jobs_waiting_items)", "waiting")),
                panel("Age of the oldest", "s", ("max (matteworks_jobs_oldest_item_seconds)", "oldest item")),
                panel(
                    "Tries",
                    "reqps",
                    (rate("matteworks_jobs_worker_items_total", "outcome"), "{{outcome}}"),
                    is_stacked=True,
                ),
                panel(
                    "Time from acceptance to the first try",
                    "s",
                    (quantile(0.5, "matteworks_jobs_worker_queue_seconds"), "median"),
                    (quantile(0.95, "matteworks_jobs_worker_queue_seconds"), "95 %"),
                ),
                panel(
                    "Time of a try",
                    "s",
                    (quantile(0.95, "matteworks_jobs_worker_item_seconds"), "95 %"),
                    (mean("matteworks_jobs_worker_item_seconds"), "mean"),
                ),
                panel("Items in hand", "short", ("sum (matteworks_jobs_worker_in_flight)", "items")),
            ),
        ),
        (
            "Webhooks and results",
            (
                panel(
                    "Tries to deliver",
                    "reqps",
                    (rate("matteworks_jobs_webhook_attempts_total", "outcome"), "{{outcome}}"),
                    is_stacked=True,
                ),
                panel("Due and not tried", "short", ("max (matteworks_jobs_due_webhooks)", "webhooks")),
                panel(
                    "Time of a delivery, 95 %",
                    "s",
                    (quantile(0.95, "matteworks_jobs_webhook_seconds"), "95 %"),
                ),
                panel(
                    "Failures of the store of results",
                    "reqps",
                    (
                        rate("matteworks_jobs_object_store_failures_total", "operation, reason"),
                        "jobs {{operation}} {{reason}}",
                    ),
                    (
                        rate("matteworks_jobs_worker_object_store_failures_total", "operation, reason"),
                        "worker {{operation}} {{reason}}",
                    ),
                ),
                panel("Room for results", "bytes", ("min (matteworks_jobs_object_store_free_bytes)", "free")),
                panel(
                    "Upkeep that failed",
                    "reqps",
                    (rate("matteworks_jobs_upkeep_failures_total", "duty"), "{{duty}}"),
                ),
            ),
        ),
    ),
)


def _credits(title: str, expression: str, legend: str, told: str = "") -> Panel:
    return panel(title, "short", (f"{expression} / 1000", legend), told=told)


_MONEY: Final = Board(
    "matteworks-money",
    "Matteworks: credits",
    "What is held, charged and given back; whether the books balance; who runs out.",
    (
        (
            "Movements",
            (
                _credits(
                    "Credits a second",
                    rate("matteworks_auth_credits_milli_total", "movement"),
                    "{{movement}}",
                ),
                panel(
                    "Holds",
                    "reqps",
                    (rate("matteworks_auth_reservations_total", "outcome"), "{{outcome}}"),
                    told="Held, shared with an equal upload (repeat), or why not.",
                    is_stacked=True,
                ),
                panel(
                    "Ends of holds",
                    "reqps",
                    (rate("matteworks_auth_commits_total", "outcome"), "commit: {{outcome}}"),
                    (rate("matteworks_auth_releases_total", "outcome"), "release: {{outcome}}"),
                    (rate("matteworks_auth_overdue_reservations_total"), "given back by the clock"),
                ),
                panel(
                    "Keys",
                    "reqps",
                    (rate("matteworks_auth_authentications_total", "outcome"), "{{outcome}}"),
                    is_stacked=True,
                ),
            ),
        ),
        (
            "Books, as of the last look",
            (
                _credits(
                    "Drift",
                    "max (matteworks_auth_books_drift_milli)",
                    "credits",
                    "Appeared or vanished; 0 when all is well.",
                ),
                _credits("Held now", 'max (matteworks_auth_books_credits_milli{state="held"})', "credits"),
                _credits("Spent", 'max (matteworks_auth_books_credits_milli{state="spent"})', "credits"),
                panel(
                    "Accounts that run out",
                    "short",
                    ('max by (state) (matteworks_auth_accounts{state=~"low|empty|faulty"})', "{{state}}"),
                ),
            ),
        ),
    ),
)

BOARDS: Final = (_OVERVIEW, _INFERENCE, _JOBS, _MONEY)
