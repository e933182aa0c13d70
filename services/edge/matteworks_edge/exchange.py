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
    # Whose request it is, once the key is known.
    account_id: str = ""
    key_id: str = ""
    # Under which the request is in auth's books; empty when nothing was held.
    reservation_id: str = ""
    charged_credits_milli: int = 0
    # Network that made the matte; empty when none did.
    model: str = ""
    # Of the request, at fault for its failure; empty: none.
    faulty_field: str = ""
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

    def keep_charge(self, charged_credits_milli: int, model: str) -> None:
        """Remember what was charged, and which network made the matte."""
        self.charged_credits_milli = charged_credits_milli
        self.model = model


def exchange_of(request: Request) -> Exchange:
    """The exchange that the middleware opened for `request`."""
    exchange: Exchange = request.scope[_SCOPE_KEY]
    return exchange


def attach(scope: Scope, exchange: Exchange) -> None:
    """Put an exchange where `exchange_of` finds it."""
    scope[_SCOPE_KEY] = exchange
