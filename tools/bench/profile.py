"""Where the time of one request goes, stage by stage, from the times that the services report.

python -m tools.bench.profile --photo PHOTO [--sizes 2,10] [--rounds 5]

A transfer is what the caller waited beyond what the service behind it says that it worked: messages, Envoy,
the network. The last one holds the client's own time too.
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

RENDER = "render."
INFERENCE = "render.inference."
# Stages that take less at every size are not shown.
SHOWN_MS = 0.2


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
            columns.append(budget({stage: statistics.median(values) for stage, values in samples.items()}))
    stages = [stage for stage in columns[0] if any(column[stage] >= SHOWN_MS for column in columns)]
    print("| stage, ms | " + " | ".join(f"{size:g} MP" for size in sizes) + " |")
    print("|---" * (len(sizes) + 1) + "|")
    for stage in stages:
        print(f"| {stage} | " + " | ".join(f"{column[stage]:.1f}" for column in columns) + " |")


def budget(reported: dict[str, float]) -> dict[str, float]:
    """The stages in the order of the way, without those that contain others, in milliseconds.

    `reported` has the names of `Server-Timing`, and `whole request`.
    """
    inference = {name: value for name, value in reported.items() if name.startswith(INFERENCE)}
    steps = {
        name: value
        for name, value in reported.items()
        if name.startswith(RENDER) and name not in inference and name != RENDER + "segment"
    }
    edge = {name: value for name, value in reported.items() if "." not in name and name != "whole request"}
    names = list(steps)
    before, after = names[: names.index(RENDER + "matte")], names[names.index(RENDER + "matte") :]
    segment = reported[RENDER + "segment"]
    rows = {name: value for name, value in edge.items() if name not in ("render", "commit", "respond")}
    rows["transfer, edge to compositor and back"] = edge["render"] - sum(steps.values()) - segment
    rows |= {name.removeprefix(RENDER): steps[name] for name in before}
    rows["transfer, compositor to inference and back"] = segment - sum(inference.values())
    rows |= {name.removeprefix(RENDER): value for name, value in inference.items()}
    rows |= {name.removeprefix(RENDER): steps[name] for name in after}
    rows |= {name: edge.get(name, 0.0) for name in ("commit", "respond")}
    rows["transfer, client to edge and back"] = reported["whole request"] - sum(edge.values())
    rows["whole request"] = reported["whole request"]
    return rows


if __name__ == "__main__":
    main()
