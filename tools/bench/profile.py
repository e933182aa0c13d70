"""Where the time of one request goes, stage by stage, from the times that the services report.

python -m tools.bench.profile --photo PHOTO [--sizes 2,10] [--rounds 5]
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections import defaultdict
from pathlib import Path

import httpx

from tools.bench.pictures import scaled_jpeg
from tools.bench.servers import our_stack


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--sizes", default="0.25,2,10,25", help="megapixels")
    parser.add_argument("--model", default="isnet-general-use")
    parser.add_argument("--models-dir", type=Path, default=Path("models"))
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    sizes = [float(size) for size in arguments.sizes.split(",")]
    columns: list[dict[str, float]] = []
    with our_stack(arguments.model, arguments.models_dir) as server, httpx.Client(timeout=600) as client:
        for size in sizes:
            picture = scaled_jpeg(arguments.photo, size)
            server.ask(client, picture, arguments.model)
            samples: dict[str, list[float]] = defaultdict(list)
            for _ in range(arguments.rounds):
                start = time.perf_counter()
                answer = server.ask(client, picture, arguments.model)
                samples["whole request"].append((time.perf_counter() - start) * 1e3)
                for stage, milliseconds in re.findall(
                    r"([\w.\-]+);dur=([\d.]+)", answer.headers.get("server-timing", "")
                ):
                    samples[stage].append(float(milliseconds))
            columns.append({stage: statistics.median(values) for stage, values in samples.items()})
    stages = list(dict.fromkeys(stage for column in columns for stage in column))
    print("| stage, ms | " + " | ".join(f"{size:g} MP" for size in sizes) + " |")
    print("|---" * (len(sizes) + 1) + "|")
    for stage in stages:
        print(f"| {stage} | " + " | ".join(f"{column.get(stage, 0):.1f}" for column in columns) + " |")


if __name__ == "__main__":
    main()
