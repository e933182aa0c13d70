"""More requests than the machine can serve: how much is still served, and how the rest is told.

python -m tools.bench.overload --photo PHOTO [--seconds 60] [--times 3] [--model u2netp]

First as many clients as keep the machine busy find its rate. Then requests arrive at a multiple of that
rate, whether or not earlier ones were answered. Prints what was served beside that rate, how long the
refused waited for their answer, whether each of them was told when to come again, how long the served
waited, and how soon after the flood one request takes its usual time again.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from tools.bench.pictures import scaled_jpeg
from tools.bench.servers import Server, our_stack

CLIENTS = 4
WARM_SECONDS = 15.0
USUAL_ROUNDS = 9
# A request takes its usual time again when it takes at most this much of it.
RECOVERED = 1.5
REFUSALS = (429, 503)


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent and how long the answer took, in seconds."""

    sent_s: float
    took_s: float
    status: int
    has_retry_after: bool


class Flood:
    """Requests to one server, each with a picture of its own bytes, so none is taken for a repeat."""

    def __init__(self, server: Server, client: httpx.AsyncClient, picture: bytes) -> None:
        self._server, self._client, self._picture = server, client, picture
        self._sent = 0

    async def ask(self) -> Answer:
        """One removal. A connection that breaks counts as status 0."""
        self._sent += 1
        # What follows the end of a JPEG is not decoded.
        picture = self._picture + self._sent.to_bytes(8, "big")
        start_s = time.perf_counter()
        try:
            response = await self._client.post(**self._server.removal(picture))
            status, told = response.status_code, "retry-after" in response.headers
        except httpx.HTTPError:
            status, told = 0, False
        return Answer(start_s, time.perf_counter() - start_s, status, told)

    async def closed(self, clients: int, seconds: float) -> list[Answer]:
        """`clients` that each send the next request when the last one was answered."""
        end_s = time.perf_counter() + seconds
        answers: list[Answer] = []

        async def one() -> None:
            while time.perf_counter() < end_s:
                answers.append(await self.ask())

        await asyncio.gather(*(one() for _ in range(clients)))
        return answers

    async def open(self, per_second: float, seconds: float) -> list[Answer]:
        """Requests at even times, whatever became of the earlier ones."""
        start_s = time.perf_counter()
        tasks: list[asyncio.Task[Answer]] = []
        for number in range(round(per_second * seconds)):
            await asyncio.sleep(max(0.0, start_s + number / per_second - time.perf_counter()))
            tasks.append(asyncio.create_task(self.ask()))
        return list(await asyncio.gather(*tasks))


def _percentiles(answers: list[Answer]) -> str:
    if not answers:
        return "-"
    middle, late = np.percentile([answer.took_s * 1000 for answer in answers], (50, 99))
    return f"{middle:.0f} ms, {late:.0f} ms"


async def measure(server: Server, picture: bytes, times: float, seconds: float) -> None:
    """Run the three parts and print a line for each figure."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(timeout=120, limits=limits) as client:
        flood = Flood(server, client, picture)
        await flood.closed(CLIENTS, 3)
        usual_s = float(np.median([(await flood.ask()).took_s for _ in range(USUAL_ROUNDS)]))
        busy = await flood.closed(CLIENTS, WARM_SECONDS)
        peak = sum(answer.status == 200 for answer in busy) / WARM_SECONDS
        print(f"| one client, median | {usual_s * 1000:.0f} ms |")
        print(f"| {CLIENTS} clients, pictures a second | {peak:.2f} |")
        print(f"| {CLIENTS} clients, p50 and p99 | {_percentiles(busy)} |", flush=True)
        answers = await flood.open(peak * times, seconds)
        after_s = time.perf_counter()
        while (await flood.ask()).took_s > RECOVERED * usual_s:
            pass
        recovery_s = time.perf_counter() - after_s
    served = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status in REFUSALS]
    span_s = max(answer.sent_s + answer.took_s for answer in answers) - min(a.sent_s for a in answers)
    print(f"| arriving, a second | {len(answers) / seconds:.2f} |")
    print(f"| answers by status | {dict(sorted(Counter(answer.status for answer in answers).items()))} |")
    print(
        f"| served, a second, of the peak | {len(served) / span_s:.2f}, {len(served) / span_s / peak:.0%} |"
    )
    print(f"| served, p50 and p99 | {_percentiles(served)} |")
    print(f"| refused, p50 and p99 | {_percentiles(refused)} |")
    print(f"| refused with Retry-After | {sum(a.has_retry_after for a in refused)} of {len(refused)} |")
    print(f"| usual again after | {recovery_s:.1f} s |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--megapixels", type=float, default=0.25)
    parser.add_argument("--model", default="u2netp")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--times", type=float, default=3.0, help="arrivals over what can be served")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    picture = scaled_jpeg(arguments.photo, arguments.megapixels)
    print("| figure | measured |\n|---|---|")
    with our_stack(arguments.model, arguments.models_dir) as server:
        asyncio.run(measure(server, picture, arguments.times, arguments.seconds))


if __name__ == "__main__":
    main()
