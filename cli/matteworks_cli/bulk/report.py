"""What a finished run came to, put together from the manifests."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass

from obstore.store import ObjectStore

from matteworks_cli.bulk.shards import ShardBooks
from matteworks_cli.bulk.stores import BOOKS


@dataclass(frozen=True, slots=True)
class Report:
    """Pictures of a run, by what became of them."""

    pictures: int
    done: int
    failed: int


def write_report(books: ShardBooks, target: ObjectStore) -> Report:
    """Write `report.json` and `failures.jsonl`, one line a failure, beside the other books."""
    done = failed = 0
    # By way of a file, so that a run in which everything failed needs no more memory than another.
    with tempfile.TemporaryFile() as failures:
        for number in sorted(books.finished()):
            for outcome in books.outcomes(number):
                if outcome.error:
                    failed += 1
                    line = json.dumps({"key": outcome.key, "error": outcome.error})
                    failures.write(line.encode() + b"\n")
                else:
                    done += 1
        failures.seek(0)
        target.put(f"{BOOKS}/failures.jsonl", failures)
    report = Report(done + failed, done, failed)
    target.put(f"{BOOKS}/report.json", json.dumps(asdict(report)).encode())
    return report
