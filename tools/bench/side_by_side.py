"""Our stack and the peer on the same pictures, in turn, in one run: the tables of docs/performance.md.

python -m tools.bench.side_by_side --photo PHOTO [--tables isnet-same-engine,isnet,u2netp,qualities,blended]

`isnet-same-engine` runs onnxruntime in float32 on both sides; `isnet` and `u2netp` run the engine that
our start measured to be the fastest; `qualities` are all our networks together, against the peer's ISNet, at
2 MP; `blended` is what they cost beside our ISNet alone.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tools.bench.pictures import scaled_jpeg
from tools.bench.servers import Server, our_stack, peer_server

SIZES_MP = (0.25, 2, 10, 25)
CLIENTS = 4
PERSON = Path("cli/matteworks_cli/demo/astronaut.jpg")
ISNET = "isnet-general-use"
# The network, and what our stack is told.
TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "isnet-same-engine": (ISNET, {"MATTEWORKS_INFERENCE_ENGINE": "onnxruntime"}),
    "isnet": (ISNET, {}),
    "u2netp": ("u2netp", {}),
}


def seconds(server: Server, client: httpx.Client, picture: bytes, model: str) -> float:
    """Wall time of one request."""
    start = time.perf_counter()
    server.ask(client, picture, model)
    return time.perf_counter() - start


def pictures_per_second(server: Server, client: httpx.Client, picture: bytes, model: str) -> float:
    """Throughput with CLIENTS requests in flight, over three rounds of them."""
    count = 3 * CLIENTS
    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda _: server.ask(client, picture, model), range(count)))
    return count / (time.perf_counter() - start)


def compare_pictures(photo: Path, model: str, rounds: int, ours: Server, peer: Server) -> None:
    """Print one row a size: both medians, and the median of the pairwise ratios."""
    print("\n| picture | ours | peer | peer / ours |\n|---|---|---|---|")
    with httpx.Client(timeout=600, limits=httpx.Limits(max_connections=64)) as client:
        for megapixels in SIZES_MP:
            picture = scaled_jpeg(photo, megapixels)
            print(f"| {megapixels} MP | {in_turn(ours, peer, client, picture, model, rounds)} |", flush=True)
        picture = scaled_jpeg(photo, 2)
        rates = [pictures_per_second(server, client, picture, model) for server in (ours, peer)]
        print(
            f"| 2 MP, {CLIENTS} clients | {rates[0]:.2f} /s | {rates[1]:.2f} /s | {rates[0] / rates[1]:.2f} |"
        )
        print(
            f"| memory after this | {ours.memory_bytes() / 2**20:.0f} MiB "
            f"| {peer.memory_bytes() / 2**20:.0f} MiB | |",
            flush=True,
        )


def in_turn(ours: Server, peer: Server, client: httpx.Client, picture: bytes, model: str, rounds: int) -> str:
    """Three cells: both medians, and the median of the pairwise ratios."""
    for server in (ours, peer):
        seconds(server, client, picture, model)
    pairs = [
        (seconds(ours, client, picture, model), seconds(peer, client, picture, model)) for _ in range(rounds)
    ]
    ours_s, peer_s = (statistics.median(side) for side in zip(*pairs, strict=True))
    return f"{ours_s:.2f} s | {peer_s:.2f} s | {statistics.median(b / a for a, b in pairs):.2f}"


def compare_qualities(arguments: argparse.Namespace) -> None:
    """Print one row a quality, at 2 MP."""
    picture = scaled_jpeg(arguments.photo, 2)
    print("\n### qualities, 2 MP\n\n| quality | ours | peer | peer / ours |\n|---|---|---|---|")
    with peer_server(ISNET, arguments.models_dir, arguments.peer_venv) as peer:
        for quality in ("fast", "balanced", "best"):
            environment = {"MATTEWORKS_INFERENCE_QUALITY": quality}
            with (
                our_stack("", arguments.models_dir, environment=environment) as ours,
                httpx.Client(timeout=600) as client,
            ):
                cells = in_turn(ours, peer, client, picture, ISNET, arguments.rounds)
            print(f"| {quality} | {cells} |", flush=True)


def compare_with_plain(arguments: argparse.Namespace) -> None:
    """Print what blending costs: every network of `balanced` beside ISNet alone, both ours, at 2 MP."""
    print("\n### blended, 2 MP\n\n| picture | ISNet alone | balanced | balanced / alone |\n|---|---|---|---|")
    with (
        our_stack(ISNET, arguments.models_dir) as alone,
        our_stack("", arguments.models_dir) as balanced,
        httpx.Client(timeout=600) as client,
    ):
        for label, photo in (("as given", arguments.photo), ("a person", PERSON)):
            cells = in_turn(alone, balanced, client, scaled_jpeg(photo, 2), ISNET, arguments.rounds)
            print(f"| {label} | {cells} |", flush=True)


OTHER_TABLES: dict[str, Callable[[argparse.Namespace], None]] = {
    "qualities": compare_qualities,
    "blended": compare_with_plain,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--tables", default="isnet-same-engine,isnet,u2netp,qualities,blended")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--peer-venv", type=Path, default=Path(".venv-peer"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for table in arguments.tables.split(","):
        if table in OTHER_TABLES:
            OTHER_TABLES[table](arguments)
            continue
        model, environment = TABLES[table]
        print(f"\n### {table}")
        with (
            our_stack(model, arguments.models_dir, environment=environment) as ours,
            peer_server(model, arguments.models_dir, arguments.peer_venv) as peer,
        ):
            compare_pictures(arguments.photo, model, arguments.rounds, ours, peer)


if __name__ == "__main__":
    main()
