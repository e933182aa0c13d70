"""Every metric of the auth service beside those of its RPCs."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class AuthMetrics:
    """Labels come from closed sets: outcomes and refusal kinds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.authentications = Counter(
            "matteworks_auth_authentications",
            "Keys looked at, by outcome: valid, restricted, invalid, malformed.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.reservations = Counter(
            "matteworks_auth_reservations", "Reservations by outcome: held, repeat, or the refusal's reason.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.commits = Counter(
            "matteworks_auth_commits",
            "Commits answered, by outcome: charged, or free for free calls, test keys and equal uploads.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.releases = Counter(
            "matteworks_auth_releases",
            "Releases answered, by outcome: given_back, or nothing when settled before or still shared.",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.sweep_failures = Counter(
            "matteworks_auth_sweep_failures",
            "Sweeps for overdue reservations that failed.",
            registry=registry,
        )
        self.overdue = Counter(
            "matteworks_auth_overdue_reservations", "Reservations given back because nobody settled them.",
            registry=registry,
        )  # fmt: skip
