"""Batches, webhooks and stored results, as pages show them."""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from matteworks.jobs.v1 import (
    jobs_pb2,
    jobs_pb2_grpc,
    removal_pb2,
    results_pb2,
    results_pb2_grpc,
    webhooks_pb2,
    webhooks_pb2_grpc,
)
from matteworks_common.channels import call, probe


class JobsClient:
    """What an account has in the jobs service. Every method raises the MatteworksError of the service; an id
    of another account is NotFound.
    """

    def __init__(self, channel: grpc.aio.Channel, timeout_s: float) -> None:
        self._jobs = jobs_pb2_grpc.JobServiceStub(channel)
        self._webhooks = webhooks_pb2_grpc.WebhookServiceStub(channel)
        self._results = results_pb2_grpc.ResultServiceStub(channel)
        self._timeout_s = timeout_s

    async def check(self) -> None:
        """Raise unless jobs and its store answer."""
        request = jobs_pb2.ListBatchesRequest(account_id="readiness", page_size=1)
        await probe(self._jobs.ListBatches, request, timeout_s=self._timeout_s)

    async def batches(self, account_id: str) -> list[jobs_pb2.Batch]:
        """The latest batches, latest first."""
        request = jobs_pb2.ListBatchesRequest(account_id=account_id)
        return list((await call(self._jobs.ListBatches, request, timeout_s=self._timeout_s)).batches)

    async def cancel_batch(self, account_id: str, batch_id: str) -> None:
        """Cancel what has not been charged yet."""
        request = jobs_pb2.CancelBatchRequest(account_id=account_id, batch_id=batch_id)
        await call(self._jobs.CancelBatch, request, timeout_s=self._timeout_s)

    async def results(self, account_id: str) -> list[removal_pb2.StoredResult]:
        """The latest results, latest first."""
        request = results_pb2.ListResultsRequest(account_id=account_id)
        return list((await call(self._results.ListResults, request, timeout_s=self._timeout_s)).results)

    async def delete_result(self, account_id: str, result_id: str) -> None:
        """Delete the bytes for good."""
        request = results_pb2.DeleteResultRequest(account_id=account_id, result_id=result_id)
        await call(self._results.DeleteResult, request, timeout_s=self._timeout_s)

    async def endpoints(self, account_id: str) -> list[webhooks_pb2.WebhookEndpoint]:
        """Webhook endpoints, oldest first."""
        request = webhooks_pb2.ListWebhookEndpointsRequest(account_id=account_id)
        answer = await call(self._webhooks.ListWebhookEndpoints, request, timeout_s=self._timeout_s)
        return list(answer.endpoints)

    async def create_endpoint(
        self, account_id: str, url: str, events: Sequence[webhooks_pb2.WebhookEvent.ValueType]
    ) -> webhooks_pb2.CreateWebhookEndpointResponse:
        """A new endpoint with its secret."""
        request = webhooks_pb2.CreateWebhookEndpointRequest(account_id=account_id, url=url, events=events)
        return await call(self._webhooks.CreateWebhookEndpoint, request, timeout_s=self._timeout_s)

    async def rotate_secret(self, account_id: str, endpoint_id: str) -> str:
        """A new secret; deliveries are signed with the old one too for 24 hours."""
        request = webhooks_pb2.RotateWebhookSecretRequest(account_id=account_id, endpoint_id=endpoint_id)
        return (await call(self._webhooks.RotateWebhookSecret, request, timeout_s=self._timeout_s)).secret

    async def delete_endpoint(self, account_id: str, endpoint_id: str) -> None:
        """Remove an endpoint."""
        request = webhooks_pb2.DeleteWebhookEndpointRequest(account_id=account_id, endpoint_id=endpoint_id)
        await call(self._webhooks.DeleteWebhookEndpoint, request, timeout_s=self._timeout_s)

    async def deliveries(self, account_id: str) -> list[webhooks_pb2.WebhookDelivery]:
        """The latest deliveries, latest first."""
        request = webhooks_pb2.ListWebhookDeliveriesRequest(account_id=account_id)
        answer = await call(self._webhooks.ListWebhookDeliveries, request, timeout_s=self._timeout_s)
        return list(answer.deliveries)

    async def resend(self, account_id: str, delivery_id: str) -> None:
        """Send a delivery again."""
        request = webhooks_pb2.ResendWebhookDeliveryRequest(account_id=account_id, delivery_id=delivery_id)
        await call(self._webhooks.ResendWebhookDelivery, request, timeout_s=self._timeout_s)
