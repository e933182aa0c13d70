"""A stack whose every connection is TLS: outside for strangers, inside for each other alone."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from matteworks_client import MatteworksClient, MatteworksError
from matteworks_client.retrying import RetryPolicy
from matteworks_common.clock import SystemClock
from matteworks_common.tls import Identity
from matteworks_console.instances import InstancesClient
from matteworks_deploy.topology import SERVICES, Protocol, instance_address
from tests.e2e.test_lost_workers import wait_until
from tests.support.certificates import LOCAL_NAMES, write_identity
from tests.support.stack import FAST_MODEL, RunningStack, stack

pytestmark = pytest.mark.stack

_AT_ONCE = {
    f"MATTEWORKS_{(row.process_of or row.name).upper()}_TLS_RENEWAL_SPREAD_S": "0" for row in SERVICES
}


@dataclass(frozen=True)
class SecureStack:
    """A stack, its authority, and where its certificates lie."""

    stack: RunningStack
    authority: trustme.CA
    public: Path
    internal: Path

    def trust(self) -> ssl.SSLContext:
        """A stranger's: the authority is believed, no certificate is shown."""
        return ssl.create_default_context(cafile=str(self.internal / "ca.crt"))

    def remove(self, photo: bytes) -> httpx.Response:
        with httpx.Client(verify=self.trust(), timeout=60) as client:
            return client.post(
                f"{self.stack.base_url}/v1.0/removebg",
                headers={"X-Api-Key": self.stack.key},
                files={"image_file": ("photo.jpg", photo)},
            )

    def serial_at(self, address: str) -> object:
        """The number of the certificate that is shown there."""
        host, _, port = address.rpartition(":")
        context = Identity(self.internal).client_context()
        with (
            socket.create_connection((host, int(port)), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            return (connection.getpeercert() or {})["serialNumber"]


@pytest.fixture(scope="module")
def secure(fast_weights: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureStack]:
    directory = tmp_path_factory.mktemp("secure")
    authority = trustme.CA()
    write_identity(authority, directory / "public", "127.0.0.1", "localhost")
    write_identity(authority, directory / "internal", *LOCAL_NAMES)
    options = ("--model", FAST_MODEL, "--public-tls", str(directory / "public"))
    options += ("--internal-tls", str(directory / "internal"))
    with stack(directory / "state", *options, settings=_AT_ONCE) as started:
        yield SecureStack(started, authority, directory / "public", directory / "internal")


def test_a_photo_is_cut_out_by_https_and_plain_http_is_not_answered(
    secure: SecureStack, demo_photo: Path
) -> None:
    assert secure.stack.base_url.startswith("https://")
    assert secure.remove(demo_photo.read_bytes()).status_code == 200
    with pytest.raises(httpx.HTTPError):
        httpx.get(secure.stack.base_url.replace("https:", "http:") + "/healthz", timeout=5)


def test_the_client_and_the_commands_show_their_certificates(secure: SecureStack, demo_photo: Path) -> None:
    with MatteworksClient(secure.stack.internal_target, tls_directory=secure.internal) as client:
        assert client.remove_background(demo_photo).image
    command = [sys.executable, "-m", "matteworks_cli", "doctor"]
    command += ["--state-dir", str(secure.stack.state_directory)]
    environment = {**os.environ, "SSL_CERT_FILE": str(secure.internal / "ca.crt")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, env=environment)
    for what in ("gateway", "public certificate", "internal certificate", "auth", "batch", "result URLs"):
        assert f"ok       {what}:" in done.stdout, (done.stdout, done.stderr)


async def test_the_console_asks_every_process_by_the_name_of_its_service(secure: SecureStack) -> None:
    text = ",".join(instance_address(row, secure.stack.address(row.name)) for row in SERVICES)
    instances = InstancesClient(text, SystemClock(), Identity(secure.internal))
    try:
        answers = await instances.answers()
    finally:
        await instances.close()
    assert [answer.problem for answer in answers] == [""] * len(SERVICES)


@pytest.mark.parametrize("who", ["nobody", "a stranger"])
def test_whoever_is_not_of_the_same_authority_reaches_no_inner_listener(
    secure: SecureStack, tmp_path: Path, demo_photo: Path, who: str
) -> None:
    """Not the internal listener, and not a service behind Envoy's back."""
    write_identity(trustme.CA(), tmp_path, *LOCAL_NAMES)
    stranger = Identity(tmp_path).channel_credentials()
    grpc_services = [row.name for row in SERVICES if row.protocol is not Protocol.HTTP]
    targets = [secure.stack.internal_target, *(secure.stack.address(name) for name in grpc_services)]
    for target in targets:
        channel = grpc.insecure_channel(target) if who == "nobody" else grpc.secure_channel(target, stranger)
        with channel, pytest.raises(grpc.RpcError) as failure:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE, target
    for name in ("edge", "console"):
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"https://{secure.stack.address(name)}/readyz", verify=secure.trust(), timeout=5)
    directory = None if who == "nobody" else tmp_path
    with (
        MatteworksClient(
            secure.stack.internal_target,
            tls_directory=directory,
            timeout_s=5,
            retries=RetryPolicy(max_attempts=1),
        ) as client,
        pytest.raises(MatteworksError),
    ):
        client.remove_background(demo_photo)


def test_renewed_certificates_are_taken_up_by_everything_without_a_hand(
    secure: SecureStack, demo_photo: Path
) -> None:
    """The services drain and start again; Envoy takes them as it runs."""
    names = [name for name in secure.stack.process_names if name not in ("envoy", "valkey")]
    before = {name: secure.stack.pid(name) for name in names}
    envoy, valkey = secure.stack.pid("envoy"), secure.stack.pid("valkey")
    target = secure.stack.internal_target
    old_serial = secure.serial_at(target)

    write_identity(secure.authority, secure.public, "127.0.0.1", "localhost")
    write_identity(secure.authority, secure.internal, *LOCAL_NAMES)

    wait_until(lambda: secure.serial_at(target) != old_serial, 60, "Envoy to show the new certificate")
    wait_until(
        lambda: all(secure.stack.pid(name) != before[name] for name in names), 90, "every service to restart"
    )
    deadline = time.monotonic() + 60
    while secure.remove(demo_photo.read_bytes()).status_code != 200:
        assert time.monotonic() < deadline
    assert (secure.stack.pid("envoy"), secure.stack.pid("valkey")) == (envoy, valkey)
    assert not any("ended with signal" in line for line in secure.stack.log)


def test_certificates_that_do_not_fit_are_told_before_anything_starts(tmp_path: Path) -> None:
    write_identity(trustme.CA(), tmp_path / "one", *LOCAL_NAMES)
    write_identity(trustme.CA(), tmp_path / "two", *LOCAL_NAMES)
    (tmp_path / "one" / "tls.key").write_bytes((tmp_path / "two" / "tls.key").read_bytes())
    command = [sys.executable, "-m", "matteworks_cli", "up", "--state-dir", str(tmp_path / "state")]
    for directory, told in (("one", "do not belong together"), ("none", "tls.crt: No such file")):
        done = subprocess.run(
            [*command, "--internal-tls", str(tmp_path / directory)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2
        assert told in done.stderr
