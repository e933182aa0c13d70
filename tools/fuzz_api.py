"""Fuzz a running stack from its own OpenAPI document, and hold the account's figures against the answers.

    python -m tools.fuzz_api --base-url http://127.0.0.1:8080 --key KEY [--seconds 600] [--only bgremover]

Runs schemathesis from an environment of its own (made at --venv when it is missing), on each provider's group
of the document in turn. Fails on any 5xx but 501, which says what is not installed, on any answer outside the
document, and when the balance moved by anything else than the answers say was charged.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx

REQUIREMENT = "schemathesis>=4.30"
PHOTO = Path(__file__).resolve().parent.parent / "cli" / "matteworks_cli" / "demo" / "astronaut.jpg"
CHECKS = "status_code_conformance,content_type_conformance,response_schema_conformance"


def total_credits(base_url: str, key: str) -> float:
    """The account's balances, summed."""
    answer = httpx.get(f"{base_url}/v1.0/account", headers={"X-Api-Key": key}, timeout=30)
    answer.raise_for_status()
    return float(answer.json()["data"]["attributes"]["credits"]["total"])


@dataclass(frozen=True)
class Answers:
    """What came back from one group: how often each status, and the sum of X-Credits-Charged."""

    statuses: Counter[int]
    charged: float

    @property
    def failures(self) -> int:
        """Answers of 5xx, but for what says that it is not installed."""
        return sum(count for status, count in self.statuses.items() if status >= 500 and status != 501)


def read_answers(report: Path) -> Answers:
    """The answers that a run has written down."""
    responses = [entry["response"] for entry in json.loads(report.read_text())["log"]["entries"]]
    charged = sum(
        float(header["value"])
        for response in responses
        for header in response["headers"]
        if header["name"].lower() == "x-credits-charged"
    )
    # 0 stands for a request that got no answer, such as one that cannot be sent.
    return Answers(Counter(response["status"] for response in responses), charged)


def groups_of(base_url: str) -> list[str]:
    """The groups of the document in its order, which are the providers."""
    document = httpx.get(f"{base_url}/openapi.json", timeout=30).json()
    tags = [tag for path in document["paths"].values() for call in path.values() for tag in call["tags"]]
    return list(dict.fromkeys(tags))


class Customer(threading.Thread):
    """Sends real pictures all along, so that money moves while the fuzzer talks nonsense."""

    def __init__(self, base_url: str, key: str, photo: bytes) -> None:
        super().__init__(daemon=True)
        self._base_url, self._key, self._photo = base_url, key, photo
        self.stopping = threading.Event()
        self.charged = 0.0
        self.served = 0
        self.refused = 0

    def run(self) -> None:
        with httpx.Client(base_url=self._base_url, headers={"X-Api-Key": self._key}, timeout=120) as client:
            while not self.stopping.wait(0.5):
                # Bytes after a JPEG's end are ignored; they keep each upload from being a repeat.
                picture = self._photo + uuid.uuid4().bytes
                size = ("preview", "full", "auto")[self.served % 3]
                answer = client.post(
                    "/v1.0/removebg", data={"size": size}, files={"image_file": ("p.jpg", picture)}
                )
                self.charged += float(answer.headers["x-credits-charged"])
                self.served += answer.status_code == httpx.codes.OK
                self.refused += answer.status_code != httpx.codes.OK


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--only", default="", help="one provider's group of the document")
    parser.add_argument("--venv", type=Path, default=Path(".venv-fuzz"))
    arguments = parser.parse_args()
    program = arguments.venv / "bin" / "st"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", str(arguments.venv)], check=True)
        subprocess.run([str(arguments.venv / "bin" / "pip"), "install", "--quiet", REQUIREMENT], check=True)
    before = total_credits(arguments.base_url, arguments.key)
    customer = Customer(arguments.base_url, arguments.key, PHOTO.read_bytes())
    customer.start()
    groups = [arguments.only] if arguments.only else groups_of(arguments.base_url)
    seconds = max(1, arguments.seconds // len(groups))
    charged, is_good = 0.0, True
    for group in groups:
        with tempfile.TemporaryDirectory() as scratch:
            report = Path(scratch) / "answers.har"
            run = subprocess.run(
                [
                    str(program), "run", f"{arguments.base_url}/openapi.json", "--url", arguments.base_url,
                    "--header", f"X-Api-Key: {arguments.key}", "--checks", CHECKS, "--include-tag", group,
                    "--max-time", str(seconds), "--continue-on-failure", "--workers", "2",
                    "--suppress-health-check", "all", "--request-timeout", "120",
                    "--report", "har", "--report-har-path", str(report),
                ]
            )  # fmt: skip
            answers = read_answers(report)
        charged += answers.charged
        is_good = is_good and not run.returncode and not answers.failures
        told = ", ".join(f"{count} of {status}" for status, count in sorted(answers.statuses.items()))
        print(f"{group}: {answers.statuses.total()} answers: {told}", flush=True)
    customer.stopping.set()
    customer.join()
    charged += customer.charged
    spent = before - total_credits(arguments.base_url, arguments.key)
    print(f"the answers say {charged:.3f} credits, the account {spent:.3f}")
    print(f"{customer.served} real pictures served, {customer.refused} refused")
    is_customer_served = bool(customer.served) and not customer.refused
    return 0 if is_good and is_customer_served and abs(charged - spent) < 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
