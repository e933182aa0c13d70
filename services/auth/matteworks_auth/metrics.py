"""Every metric of the auth service beside those of its RPCs."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

_MOVEMENTS = ("held", "charged", "given_back")
_STATES = ("available", "held", "spent", "expired", "granted")
_ACCOUNTS = ("all", "faulty", "low", "empty")


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
        self._moved = Counter(
            "matteworks_auth_credits_milli",
            "Thousandths of a credit by movement: held, charged, given_back. As answered: an answer that was "
            "repeated counts again; the books are exact.",
            ["movement"], registry=registry,
        )  # fmt: skip
        self._books = Gauge(
            "matteworks_auth_books_credits_milli",
            "Thousandths of a credit of all accounts by state, at the last look through the books.",
            ["state"], registry=registry,
        )  # fmt: skip
        self._drift = Gauge(
            "matteworks_auth_books_drift_milli",
            "Thousandths of a credit that appeared or vanished, at the last look; 0 when all is well.",
            registry=registry,
        )
        self._accounts = Gauge(
            "matteworks_auth_accounts",
            "Accounts by state at the last look: all, faulty (their books do not balance), low, empty.",
            ["state"], registry=registry,
        )  # fmt: skip
        self._looked = Gauge(
            "matteworks_auth_books_look_timestamp_seconds",
            "When the last look through the books ended; 0: there was none yet.",
            registry=registry,
        )
        # A series that begins at its first event hides that event from `rate`.
        for movement in _MOVEMENTS:
            self._moved.labels(movement)
        for counter, outcomes in (
            (self.authentications, ("valid", "restricted", "invalid", "malformed")),
            (self.reservations, ("held", "repeat")),
            (self.commits, ("charged", "free")),
            (self.releases, ("given_back", "nothing")),
        ):
            for outcome in outcomes:
                counter.labels(outcome)

    def moved(self, movement: str, credits_milli: int) -> None:
        """Credits were held, charged or given back."""
        self._moved.labels(movement).inc(credits_milli)

    def books_seen(
        self, credits_milli: Mapping[str, int], accounts: Mapping[str, int], drift_milli: int, at_s: float
    ) -> None:
        """What a look through all accounts found: sums by state, and when it ended (seconds since 1970)."""
        for state in _STATES:
            self._books.labels(state).set(credits_milli.get(state, 0))
        for state in _ACCOUNTS:
            self._accounts.labels(state).set(accounts.get(state, 0))
        self._drift.set(drift_milli)
        self._looked.set(at_s)
