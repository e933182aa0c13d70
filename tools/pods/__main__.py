"""The chart's pods run for real, from our images: python -m tools.pods [--models-dir models]

Renders the chart with its defaults, and starts one pod of each Deployment from its image with the very
variables, command, user, volumes and names that the manifests give: read-only roots, no capabilities, an
address for each pod. Waits for their own readiness probes, sends a photo and a batch through Envoy, and stops
them as a kubelet does. The images must be there (`make images` builds them first). Envoy and Valkey run from
their wheels on Python's base image. Not shown: a scheduler, limits of memory, network policies, real volumes.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from matteworks_cli.rest_client import RestClient
from matteworks_client import MatteworksClient
from matteworks_deploy.local.development import development_key
from matteworks_deploy.local.state import StateDirectory
from tools.pods.lab import Root, enter, make_network, problem, run_inside, start, unplug_all
from tools.pods.manifests import Pod, pods_of

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "cli" / "matteworks_cli" / "demo" / "astronaut.jpg"
READY_WITHIN_S = 600


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models-dir", type=Path, default=ROOT / "models")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.inside:
        why = problem()
        if why:
            print(f"skipped: {why}")
            return 0
        enter("tools.pods", ["--inside", "--models-dir", str(arguments.models_dir.absolute())])
    # So that whatever ends this program, what it started ends first.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    make_network()
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        return run(Path(scratch), arguments.models_dir)


def run(scratch: Path, models: Path) -> int:
    """Start, use and stop every pod; the exit status."""
    pods, names, known = pods_of(scratch, models, cores=2)
    hosts = scratch / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{at} {name}\n" for name, at in names.items()))
    roots = {pod.name: Root(pod) for pod in pods}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    logs = {pod.name: scratch / f"{pod.name}.log" for pod in pods}
    began_s = time.monotonic()
    try:
        for pod in pods:
            processes[pod.name] = start(pod, roots[pod.name], hosts, logs[pod.name])
        for pod in pods:
            until_ready(pod, processes[pod.name])
            print(f"ready | {pod.name} | user {uid_of(processes[pod.name])}")
        print(f"{len(pods)} pods ready after {time.monotonic() - began_s:.0f} s")
        envoy = next(pod for pod in pods if "envoy" in pod.name)
        send(envoy.address, known["admin-token"], scratch)
        for pod in pods:
            measure(pod)
            print(f"held | {pod.name} | {held_mib(processes[pod.name])} MiB")
        return stop(pods, processes)
    except BaseException:
        for name, log in logs.items():
            print(f"--- {name}\n{log.read_text(errors='replace')[-1500:] if log.exists() else ''}")
        raise
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        unplug_all()
        for root in roots.values():
            root.remove()


def until_ready(pod: Pod, process: subprocess.Popen[bytes]) -> None:
    """Wait for the pod's own readiness probe."""
    deadline_s = time.monotonic() + READY_WITHIN_S
    while not is_ready(pod):
        if process.poll() is not None:
            raise RuntimeError(f"{pod.name} ended with {process.returncode}")
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{pod.name} is not ready")
        time.sleep(0.5)


def is_ready(pod: Pod) -> bool:
    """What the readiness probe says now. A probe that runs a program only has its port looked at."""
    probe = pod.container["readinessProbe"]
    ports = {entry["name"]: entry["containerPort"] for entry in pod.container["ports"]}
    if "grpc" in probe:
        with grpc.insecure_channel(f"{pod.address}:{probe['grpc']['port']}") as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.RpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
    if "httpGet" in probe:
        url = f"http://{pod.address}:{ports[probe['httpGet']['port']]}{probe['httpGet']['path']}"
        try:
            return httpx.get(url, timeout=2, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False
    return _accepts(pod.address, next(iter(ports.values())))


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2):
            return True
    except OSError:
        return False


def send(envoy: str, token: str, scratch: Path) -> None:
    """A photo over REST, a batch over gRPC, and a look at everybody's metrics, through Envoy's pod."""
    state = StateDirectory(scratch / "state")
    state.prepare()
    key = asyncio.run(make_key(f"{envoy}:8081", token, state))
    with RestClient(f"http://{envoy}:8080", key) as rest:
        image = rest.remove_background(PHOTO, {"size": "auto"}).image
    target = ROOT / "out" / "pods.png"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(image)
    print(f"200 OK | a photo over REST | {target.relative_to(ROOT)}")
    with MatteworksClient(f"{envoy}:8081") as client:
        batch = client.submit_batch([PHOTO], key=key, format="webp")
        *_, last = client.watch(batch.batch_id, key=key)
        (item,) = client.items(batch.batch_id, key=key)
        path = client.download(item.item_id, ROOT / "out" / "pods.webp", key=key)
    assert last.succeeded_count == 1, last
    print(f"succeeded | a batch of one by a worker | {path.relative_to(ROOT)}")
    page = httpx.get(f"http://{envoy}:8080/console", trust_env=False, follow_redirects=True)
    print(f"{page.status_code} | the console")
    assert page.status_code == 200


async def make_key(target: str, token: str, state: StateDirectory) -> str:
    """A key of a new account with credits."""
    async with grpc.aio.insecure_channel(target) as channel:
        return await development_key(channel, token, state, [])


def measure(pod: Pod) -> None:
    """Raises HTTPStatusError when the pod does not tell its metrics to others."""
    ports = {entry["name"]: entry["containerPort"] for entry in pod.container["ports"]}
    if "metrics" in ports:
        path = "/stats/prometheus" if "envoy" in pod.name else "/metrics"
        httpx.get(f"http://{pod.address}:{ports['metrics']}{path}", trust_env=False).raise_for_status()


def stop(pods: list[Pod], processes: dict[str, subprocess.Popen[bytes]]) -> int:
    """As a kubelet does: the hook, SIGTERM, and the time that the pod has. 1 when one does not end well."""
    status = 0
    # Callers first, as rolling updates meet them in any order anyway.
    for pod in sorted(pods, key=lambda pod: "envoy" in pod.name or "valkey" in pod.name):
        process = processes[pod.name]
        began_s = time.monotonic()
        hook = pod.container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        if hook:
            run_inside(pod, process, hook)
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=pod.grace_s)
        except subprocess.TimeoutExpired:
            code = None
        status |= code != 0
        print(
            f"stopped | {pod.name} | status {code} after {time.monotonic() - began_s:.1f} of {pod.grace_s} s"
        )
    return status


def uid_of(process: subprocess.Popen[bytes]) -> str:
    """User, and the capabilities that the process has and could get."""
    fields = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
        if ":\t" in line
    )
    return (
        f"{fields['Uid'].split()[0]}, capabilities {int(fields['CapEff'], 16)} of {int(fields['CapBnd'], 16)}"
    )


def held_mib(process: subprocess.Popen[bytes]) -> int:
    """Memory that the process holds now."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) // 1024


if __name__ == "__main__":
    sys.exit(main())
