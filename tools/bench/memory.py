"""Memory after many mixed requests, ours beside the peer's, and the growth of the second half.

python -m tools.bench.memory --photo PHOTO [--requests 300] [--model isnet-general-use]
"""

from __future__ import annotations

import argparse
import concurrent.futures
import random
from pathlib import Path

import httpx

from tools.bench.pictures import scaled_jpeg
from tools.bench.servers import Server, our_stack, peer_server

SIZES_MP = (0.25, 1, 2, 4, 10, 25)
CLIENTS = 4


def hold(server: Server, bodies: list[bytes], model: str, requests: int) -> tuple[int, int]:
    """Send `requests` pictures with CLIENTS in flight; bytes held after half of them and after all."""
    order = random.Random(7)  # noqa: S311 (a repeatable mix, not a secret)
    held: list[int] = []
    with httpx.Client(timeout=600) as client, concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(2):
            mix = [order.choice(bodies) for _ in range(requests // 2)]
            list(pool.map(lambda body: server.ask(client, body, model).status_code, mix))
            held.append(server.memory_bytes())
    return held[0], held[1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--model", default="isnet-general-use")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--peer-venv", type=Path, default=Path(".venv-peer"))
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--without-peer", action="store_true")
    arguments = parser.parse_args()
    bodies = [scaled_jpeg(arguments.photo, megapixels) for megapixels in SIZES_MP]
    starts = [our_stack(arguments.model, arguments.models_dir)]
    if not arguments.without_peer:
        starts.append(peer_server(arguments.model, arguments.models_dir, arguments.peer_venv))
    print("| server | after half | after all | second half |\n|---|---|---|---|")
    for start in starts:
        with start as server:
            half, whole = hold(server, bodies, arguments.model, arguments.requests)
            row = [f"{value / 2**20:.0f} MiB" for value in (half, whole, whole - half)]
            print(f"| {server.label} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
