"""What dialects can offer. A dialect names an operation and says at which of its paths.

Where the answer is a document of the dialect's own, it gives the function that writes it and its schema.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from matteworks.compositor.v1 import compositor_pb2, edit_pb2
from matteworks.jobs.v1 import jobs_pb2
from matteworks_edge.dialects.base import Operation, Schema
from matteworks_edge.fields.reader import Fields
from matteworks_edge.openapi.documents import (
    describe_batch,
    describe_document,
    describe_edit,
    describe_health,
    describe_stored_removal,
    path_parameter,
    query_parameter,
)
from matteworks_edge.openapi.operations import describe_account, describe_improve, describe_removal
from matteworks_edge.operations.account import AccountEndpoint
from matteworks_edge.operations.account_report import AccountReport, AccountReportEndpoint
from matteworks_edge.operations.editing.endpoint import EditEndpoint
from matteworks_edge.operations.editing.subjects import SubjectsEndpoint
from matteworks_edge.operations.editing.tools import Tool
from matteworks_edge.operations.improve import ImproveEndpoint
from matteworks_edge.operations.key_report import KeyReport, KeyReportEndpoint
from matteworks_edge.operations.removal import RemovalEndpoint
from matteworks_edge.operations.stored.batches import AcceptedBatch, BatchEndpoint, BatchPollEndpoint
from matteworks_edge.operations.stored.cutout import StoredCutout
from matteworks_edge.operations.stored.deletion import DeletionEndpoint
from matteworks_edge.operations.stored.removal import StoredRemovalEndpoint
from matteworks_edge.operations.usage import Usage, UsageEndpoint
from matteworks_edge.routes.health import HealthEndpoint
from matteworks_removal.edits import EditedPicture

Document = dict[str, Any]

REMOVAL: Final = Operation(RemovalEndpoint, describe_removal)
ACCOUNT: Final = Operation(AccountEndpoint, describe_account)
HEALTH: Final = Operation(HealthEndpoint, describe_health)
IMPROVE: Final = Operation(ImproveEndpoint, describe_improve)


def stored_removal(
    document: Callable[[StoredCutout], Document],
    schema: Schema,
    *,
    max_retention_s: float = 0,
    url_lifetime_s: float = 0,
) -> Operation:
    """A removal that answers with the URL of its result."""
    return Operation(
        lambda services: StoredRemovalEndpoint(services, document, max_retention_s, url_lifetime_s),
        describe_stored_removal(schema),
    )


def stored_edit(
    tool: Tool, document: Callable[[StoredCutout], Document], schema: Schema, max_retention_s: float = 0
) -> Operation:
    """An editing tool that answers with the URL of its result."""
    return Operation(
        lambda services: EditEndpoint(services, tool, document, max_retention_s),
        describe_edit(tool.summary, tool.fields, tool.files, schema),
    )


def told_edit(
    tool: Tool,
    document: Callable[[StoredCutout], Document],
    inline: Callable[[EditedPicture], bytes],
    is_inline: Callable[[Fields], bool],
    schema: Schema,
    max_retention_s: float,
) -> Operation:
    """An editing tool that answers with a document that has the picture in it, or its URL."""
    return Operation(
        lambda services: EditEndpoint(services, tool, document, max_retention_s, inline, is_inline),
        describe_edit(tool.summary, tool.fields, tool.files, schema),
    )


def picture_edit(
    tool: Tool, format_: compositor_pb2.OutputFormat.ValueType = compositor_pb2.OUTPUT_FORMAT_UNSPECIFIED
) -> Operation:
    """An editing tool that answers with the picture, in `format_`, or else in the dialect's own."""
    return Operation(
        lambda services: EditEndpoint(services, tool, format=format_),
        describe_edit(tool.summary, tool.fields, tool.files, None),
    )


def subject_list(document: Callable[[edit_pb2.ListSubjectsResponse], Document], schema: Schema) -> Operation:
    """The subjects of a picture."""
    return Operation(
        lambda services: SubjectsEndpoint(services, document),
        describe_edit("List what is in a picture", {}, (), schema),
    )


def batch(document: Callable[[AcceptedBatch], Document], schema: Schema) -> Operation:
    """Many pictures in one call."""
    return Operation(lambda services: BatchEndpoint(services, document), describe_batch(schema))


def batch_poll(document: Callable[[jobs_pb2.GetBatchResponse], Document], schema: Schema) -> Operation:
    """How far a batch has come. Its path has `{batch_id}`."""
    return Operation(
        lambda services: BatchPollEndpoint(services, document),
        describe_document(
            "How far a batch has come", schema, parameters=(path_parameter("batch_id", "As accepted."),)
        ),
    )


def deletion(document: Callable[[str, datetime], Document], schema: Schema) -> Operation:
    """Deletes a stored result. Its path has `{image_id}`."""
    return Operation(
        lambda services: DeletionEndpoint(services, document),
        describe_document(
            "Delete a result at once", schema, parameters=(path_parameter("image_id", "As answered."),)
        ),
    )


def usage(document: Callable[[Usage], Document], schema: Schema) -> Operation:
    """Requests and credits by day, week or month."""
    day = {"type": "string", "format": "date"}
    return Operation(
        lambda services: UsageEndpoint(services, document),
        describe_document(
            "Requests and credits",
            schema,
            parameters=(
                query_parameter("start_date", day, "First day, UTC; the first of this month."),
                query_parameter("end_date", day, "Last day, UTC; today."),
                query_parameter("granularity", {"type": "string"}, "daily, weekly or monthly; daily."),
            ),
        ),
    )


def key_report(document: Callable[[KeyReport], Document], schema: Schema) -> Operation:
    """Whose a key is."""
    return Operation(
        lambda services: KeyReportEndpoint(services, document),
        describe_document("Check a key and read its account", schema),
    )


def account_report(document: Callable[[AccountReport], Document], schema: Schema) -> Operation:
    """Balances, plan, limits and this month's use."""
    return Operation(
        lambda services: AccountReportEndpoint(services, document),
        describe_document("The account, its limits and its use", schema),
    )
