"""What `matteworks bulk` costs beside the plain loop that anybody would write over the same client.

python -m tools.bench.bulk --photo PHOTO [--pictures 120] [--rounds 3] [--jobs 8]

Both send the same pictures to the same stack with as many in flight, and write the results to a folder; they
take turns. Prints pictures a second, the processor time of this process for each picture, and their ratios.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from matteworks_cli.bulk.shards import ShardBooks
from matteworks_cli.bulk.stores import open_store
from matteworks_cli.bulk.worker import BulkWorker
from matteworks_cli.rest_client import RestClient, write_result
from tools.bench.pictures import scaled_jpeg
from tools.bench.servers import our_stack

PARAMETERS = {"size": "full", "format": "png"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--pictures", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=8)
    arguments = parser.parse_args()
    picture = scaled_jpeg(arguments.photo, 0.25)
    rates: dict[str, list[float]] = {"loop": [], "bulk": []}
    costs: dict[str, list[float]] = {"loop": [], "bulk": []}
    with (
        our_stack("u2netp", arguments.models_dir) as server,
        RestClient(server.base_url, server.key) as client,
    ):
        for turn in range(arguments.rounds):
            for name, run in (("loop", plain_loop), ("bulk", bulk)):
                with tempfile.TemporaryDirectory() as scratch:
                    photos, results = Path(scratch) / "in", Path(scratch) / "out"
                    photos.mkdir()
                    for number in range(arguments.pictures):
                        # What follows the end of a JPEG is not decoded, and makes it another upload.
                        tail = f"{name} {turn} {number}".encode()
                        (photos / f"{number:05d}.jpg").write_bytes(picture + tail)
                    start, used = time.perf_counter(), time.process_time()
                    run(client, photos, results, arguments.jobs)
                    rates[name].append(arguments.pictures / (time.perf_counter() - start))
                    costs[name].append((time.process_time() - used) / arguments.pictures)
                    assert len(list(results.glob("*.png"))) == arguments.pictures
    for name in rates:
        rate, cost = statistics.median(rates[name]), statistics.median(costs[name])
        print(f"{name}: {rate:6.1f} pictures/s, {1000 * cost:5.2f} ms of this process each")
    faster = statistics.median(b / a for a, b in zip(rates["loop"], rates["bulk"], strict=True))
    print(f"bulk / loop, by turns: {faster:.2f} in pictures a second")


def plain_loop(client: RestClient, photos: Path, results: Path, jobs: int) -> None:
    """The loop over the client."""
    results.mkdir()

    def cut(photo: Path) -> None:
        cutout = client.remove_background(photo, PARAMETERS)
        write_result(results / f"{photo.name}.png", cutout.image, is_overwriting=False)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(cut, sorted(photos.iterdir())))


def bulk(client: RestClient, photos: Path, results: Path, jobs: int) -> None:
    """The same as the command does it."""
    source, target = open_store(str(photos), is_made=False), open_store(str(results), is_made=True)
    BulkWorker(
        source=source,
        target=target,
        books=ShardBooks(source, target, "bench", shard_size=500, lease_s=120),
        cutter=client,
        parameters=PARAMETERS,
        suffix="png",
        jobs=jobs,
        lease_s=120,
        patience_s=60,
        poll_s=1,
        max_picture_bytes=50_000_000,
        tell=print,
    ).run()


if __name__ == "__main__":
    main()
