"""Matteworks over gRPC, from Python.

    from matteworks_client import MatteworksClient

    with MatteworksClient("127.0.0.1:8081") as client:
        Path("cutout.png").write_bytes(client.remove_background(Path("photo.jpg")).image)

`AsyncMatteworksClient` has the same methods, awaited. Failures are the MatteworksError of the services.
"""

from matteworks_client.async_client import AsyncMatteworksClient
from matteworks_client.edits.messages import Correction, EditedPicture, PictureSubject, Stroke
from matteworks_client.jobs import Batch, Item, StoredResult
from matteworks_client.results import Account, Box, Cutout, Facts, Matte, Model, Size
from matteworks_client.retrying import RetryPolicy
from matteworks_client.sync_client import MatteworksClient
from matteworks_common.errors import MatteworksError

__all__ = [
    "Account",
    "AsyncMatteworksClient",
    "Batch",
    "Box",
    "Correction",
    "Cutout",
    "EditedPicture",
    "Facts",
    "Item",
    "Matte",
    "MatteworksClient",
    "MatteworksError",
    "Model",
    "PictureSubject",
    "RetryPolicy",
    "Size",
    "StoredResult",
    "Stroke",
]
