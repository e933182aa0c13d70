"""What dialects can offer. A dialect names an operation and says at which of its paths."""

from __future__ import annotations

from typing import Final

from matteworks_edge.dialects.base import Operation
from matteworks_edge.openapi.operations import describe_account, describe_improve, describe_removal
from matteworks_edge.operations.account import AccountEndpoint
from matteworks_edge.operations.improve import ImproveEndpoint
from matteworks_edge.operations.removal import RemovalEndpoint

REMOVAL: Final = Operation(RemovalEndpoint, describe_removal)
ACCOUNT: Final = Operation(AccountEndpoint, describe_account)
IMPROVE: Final = Operation(ImproveEndpoint, describe_improve)
