"""Cut-outs inside other batch engines: one class that Ray Data and Daft call with a batch of pictures.

Neither engine is imported: both take a plain class, make it once for each worker process, and call it with
columns of a batch. `docs/bulk.md` has a program for each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Unpack

from matteworks_client.choices import RenderChoices
from matteworks_client.sync_client import MatteworksClient
from matteworks_common.errors import MatteworksError


class CutoutActor:
    """Calls the services at `target` (host:port of the internal listener), `jobs` pictures at a time.

    A picture that cannot be cut out costs its own row, not the batch: its cut-out is None and its error says
    why. `columns` names the column of encoded pictures that comes in; `cutout` and `error` come beside it.
    """

    def __init__(
        self,
        target: str,
        *,
        jobs: int = 4,
        column: str = "bytes",
        tls_directory: Path | None = None,
        **choices: Unpack[RenderChoices],
    ) -> None:
        self._client = MatteworksClient(target, tls_directory=tls_directory)
        self._pool = ThreadPoolExecutor(jobs, thread_name_prefix="cutout")
        self._column = column
        self._choices = choices

    def __call__(self, batch: Mapping[str, Iterable[Any]]) -> dict[str, Any]:
        """`batch` with the lists `cutout` (encoded file or None) and `error` (text, else empty)."""
        cutouts, errors = self.cut(bytes(picture) for picture in batch[self._column])
        return {**batch, "cutout": cutouts, "error": errors}

    def cut(self, pictures: Iterable[bytes]) -> tuple[list[bytes | None], list[str]]:
        """Cut-outs and errors, in the order of `pictures`."""
        done = list(self._pool.map(self._cut_one, pictures))
        return [image for image, _ in done], [error for _, error in done]

    def _cut_one(self, picture: bytes) -> tuple[bytes | None, str]:
        try:
            return self._client.remove_background(picture, **self._choices).image, ""
        except MatteworksError as error:
            return None, f"{error.reason_name}: {error.message}"
