"""One request and its answer: what the layers of the edge tell each other about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.types import Scope

from matteworks.auth.v1 import auth_pb2
from matteworks_common.stages import Stages
from matteworks_edge.dialects.base import Dialect
from matteworks_edge.intake.body import BodyRules

_SCOPE_KEY = "matteworks.exchange"


@dataclass(slots=True)
class Exchange:
    """Filled while a request is handled; read when the answer is written and logged."""

    request_id: str
    dialect: Dialect
    route: str = "unknown"
    outcome: str = "ok"
    status: int = 0
    key_id: str = ""
    # Under which the request is in auth's books; empty when nothing was held.
    reservation_id: str = ""
    stages: Stages = field(default_factory=Stages)
    # Of a picture, decoded: the dialect's limit, or the plan's where that is less.
    max_file_bytes: int = 0
    # What the answer to the caller tells of the rate limit, once it is known.
    rate_limit: auth_pb2.RateLimit | None = None

    @property
    def body_rules(self) -> BodyRules:
        """How the body is read."""
        return BodyRules(
            self.dialect.field_names,
            self.max_file_bytes or self.dialect.max_file_bytes,
            self.dialect.takes_raw_body,
        )

    def keep_reservation(self, reservation: auth_pb2.ReserveResponse) -> None:
        """Remember what the books and the rate limit say, also for an answer that fails later."""
        self.rate_limit = reservation.rate_limit
        self.reservation_id = reservation.reservation_id


def exchange_of(request: Request) -> Exchange:
    """The exchange that the middleware opened for `request`."""
    exchange: Exchange = request.scope[_SCOPE_KEY]
    return exchange


def attach(scope: Scope, exchange: Exchange) -> None:
    """Put an exchange where `exchange_of` finds it."""
    scope[_SCOPE_KEY] = exchange
