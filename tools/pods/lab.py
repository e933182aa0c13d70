"""Pods without a cluster: networks of their own, roots that nobody can write, a user without privileges.

Needs Linux, root, and the right to make namespaces; `inside` makes those of the lab. Everything ends with
the program that made it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from matteworks_deploy.local.parts import envoy_binary, valkey_binary
from tools.pods.manifests import Pod, expanded

BASE_IMAGE = "docker.io/library/python:3.11.14-slim-bookworm"
GATEWAY = "10.88.0.1"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ISOLATION = {"BUILDAH_ISOLATION": "chroot"}


def problem() -> str | None:
    """Why there can be no lab here; None when there can."""
    if os.geteuid() != 0:
        return "the lab needs root"
    for program in ("buildah", "unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "ip", "link", "add", "lab", "type", "bridge"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return None if tried.returncode == 0 else f"no namespaces can be made: {tried.stderr.strip()}"


def enter(program: str, arguments: list[str]) -> NoReturn:
    """Become `python -m program` in namespaces of its own."""
    sys.stdout.flush()
    options = ("--net", "--mount", "--propagation", "private")
    os.execvp("unshare", ["unshare", *options, sys.executable, "-m", program, *arguments])  # noqa: S606


def make_network() -> None:
    """The bridge that pods are plugged into."""
    for command in (
        "ip link set lo up",
        "ip link add bridge type bridge",
        f"ip addr add {GATEWAY}/24 dev bridge",
        "ip link set bridge up",
    ):
        subprocess.run(shlex.split(command), check=True)


def buildah(*arguments: str) -> str:
    """What buildah prints."""
    return subprocess.run(
        ["buildah", *arguments], env={**os.environ, **_ISOLATION}, capture_output=True, text=True, check=True
    ).stdout.strip()


class Root:
    """The unpacked image of a pod. Programs whose image cannot be had here are put into Python's base."""

    def __init__(self, pod: Pod) -> None:
        self._pod = pod
        name = pod.container["image"].rpartition("/")[2].partition(":")[0]
        self._is_ours = name.startswith("matteworks-")
        self.container = buildah("from", "--pull-never", name if self._is_ours else BASE_IMAGE)
        self.path = Path(buildah("mount", self.container))
        config = json.loads(buildah("inspect", self.container))["OCIv1"]["config"]
        self.variables = {"PATH": _PATH, **dict(entry.split("=", 1) for entry in config.get("Env", []))}
        self._entrypoint = config.get("Entrypoint", []) if self._is_ours else []

    def command(self) -> list[str]:
        """As Kubernetes puts it together."""
        started = self._pod.container.get("command") or self._entrypoint
        arguments = [expanded(one, self._pod.variables) for one in self._pod.container.get("args", [])]
        return [*started, *arguments]

    def mounts(self) -> dict[str, tuple[Path, bool]]:
        """The pod's, and the programs that its image would have."""
        if self._is_ours:
            return self._pod.mounts
        programs = {"/usr/local/bin/envoy": envoy_binary(), "/usr/local/bin/valkey-server": valkey_binary()}
        return self._pod.mounts | {inside: (path, True) for inside, path in programs.items()}

    def remove(self) -> None:
        """Forget the unpacked image."""
        buildah("rm", self.container)


def start(pod: Pod, root: Root, hosts: Path, log: Path) -> subprocess.Popen[bytes]:
    """The pod's process, in its network, on its read-only root, as its user without a privilege.

    The process that is returned is the pod's own: it gets the signals, and its status is the pod's.
    """
    network = _plug_in(pod)
    lines = ["set -e", f"root={shlex.quote(str(root.path))}", 'mount --bind "$root" "$root"']
    mounts = {"/etc/hosts": (hosts, True), **root.mounts()}
    for inside, (folder, _) in mounts.items():
        kind = "mkdir -p" if folder.is_dir() else "touch"
        lines.append(f'{kind} "$root"{shlex.quote(inside)}')
    lines.append('mount -o remount,bind,ro "$root"')
    for inside, (folder, is_read_only) in mounts.items():
        at = f'"$root"{shlex.quote(inside)}'
        lines.append(f"mount --bind {shlex.quote(str(folder))} {at}")
        if is_read_only:
            lines.append(f"mount -o remount,bind,ro {at}")
    lines += ['mount -t proc proc "$root/proc"', 'mount --rbind /dev "$root/dev"']
    drop = [
        *("setpriv", f"--reuid={pod.user}", f"--regid={pod.user}", "--clear-groups"),
        *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
    ]
    variables = [f"{name}={value}" for name, value in {**root.variables, **pod.variables}.items()]
    lines.append('exec chroot "$root" ' + shlex.join([*drop, "env", "-i", *variables, *root.command()]))
    with log.open("wb") as output:
        return subprocess.Popen(
            [
                *("nsenter", f"--net=/proc/{network.pid}/ns/net"),
                *("unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(lines)),
            ],
            stdout=output,
            stderr=output,
        )


def run_inside(pod: Pod, process: subprocess.Popen[bytes], command: list[str]) -> None:
    """Run a hook beside the pod's process, in its network. Raises CalledProcessError."""
    subprocess.run(
        ["nsenter", f"--net=/proc/{process.pid}/ns/net", *command], check=True, timeout=pod.grace_s
    )


_networks: list[subprocess.Popen[bytes]] = []


def _plug_in(pod: Pod) -> subprocess.Popen[bytes]:
    """A network namespace with the pod's address, held by a process that does nothing."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE
    )
    assert holder.stdout
    holder.stdout.readline()
    _networks.append(holder)
    outer = f"veth{len(_networks)}"
    for command in (
        f"ip link add {outer} type veth peer name eth0 netns {holder.pid}",
        f"ip link set {outer} master bridge",
        f"ip link set {outer} up",
        f"nsenter --net=/proc/{holder.pid}/ns/net ip link set lo up",
        f"nsenter --net=/proc/{holder.pid}/ns/net ip addr add {pod.address}/24 dev eth0",
        f"nsenter --net=/proc/{holder.pid}/ns/net ip link set eth0 up",
    ):
        subprocess.run(shlex.split(command), check=True)
    return holder


def unplug_all() -> None:
    """End the processes that hold networks."""
    for holder in _networks:
        holder.kill()
        holder.wait()
    _networks.clear()
