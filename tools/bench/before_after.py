"""Whether a change made requests slower: two checkouts, their whole stacks side by side, requests in turn.

python -m tools.bench.before_after --before /checkout/of/before --after . --photo PHOTO [--model u2netp]

Each checkout needs its own `.venv` (make dev) and weights. For each size of picture it prints the medians in
seconds, and the median of the ratios after / before of requests that ran one behind the other, which drift of
the machine does not move.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tools.bench.pictures import scaled_jpeg

WARM_ROUNDS = 2


@contextmanager
def stack_of(checkout: Path, model: str) -> Iterator[tuple[str, str]]:
    """URL and key of a stack that runs the code of `checkout`."""
    with tempfile.TemporaryDirectory() as state:
        command = [str(checkout / ".venv/bin/python"), "-m", "matteworks_cli", "up", "--port", "0"]
        command += ["--state-dir", state, "--models-dir", str(checkout / "models")]
        command += ["--model", model] if model else []
        process = subprocess.Popen(
            command, cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            assert process.stdout
            ready = next(filter(None, (re.search(r"READY (\S+) key=(\S+)", line) for line in process.stdout)))
            # A log that nobody reads would stop the stack.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield ready[1], ready[2]
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--after", type=Path, default=Path.cwd())
    parser.add_argument("--photo", type=Path, required=True)
    parser.add_argument("--model", default="", help="one network; without it all, as installed")
    parser.add_argument("--rounds", type=int, default=12)
    given = parser.parse_args()
    with ExitStack() as opened:
        stacks = [
            opened.enter_context(stack_of(path.resolve(), given.model))
            for path in (given.before, given.after)
        ]
        client = opened.enter_context(httpx.Client(timeout=120, trust_env=False))
        print("| picture | before | after | after / before |\n|---|---|---|---|")
        for megapixels in (0.25, 2.0, 10.0, 25.0):
            picture = scaled_jpeg(given.photo, megapixels)
            times: tuple[list[float], list[float]] = ([], [])
            for number in range(given.rounds + WARM_ROUNDS):
                # Whoever goes first finds colder caches, so they take turns at that too.
                for index in (0, 1) if number % 2 else (1, 0):
                    url, key = stacks[index]
                    start = time.perf_counter()
                    answer = client.post(
                        f"{url}/v1.0/removebg",
                        headers={"X-Api-Key": key},
                        data={"size": "full", "format": "png"},
                        # What follows the end of a JPEG is not decoded, and makes it another upload.
                        files={"image_file": ("p.jpg", picture + number.to_bytes(8, "big"))},
                    )
                    answer.raise_for_status()
                    if number >= WARM_ROUNDS:
                        times[index].append(time.perf_counter() - start)
            ratio = statistics.median(after / before for before, after in zip(*times, strict=True))
            before_s, after_s = (statistics.median(taken) for taken in times)
            print(f"| {megapixels:g} MP | {before_s:.3f} s | {after_s:.3f} s | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
